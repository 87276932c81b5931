//! What is said on a connection.

use super::command::{Command, pack};
use super::reply::{Read, check_login, of_io, parse};
use super::url::Server;
use crate::error::Error;
use crate::net::line::Line;

/// The most commands that are written before their answers are read. With more, the buffers of both ends might fill up, and
/// each end would wait for the other to read.
const CHUNK: usize = 256;

/// Says what each new connection says first.
pub(super) async fn log_in(line: &mut impl Line, server: &Server) -> Result<(), Error> {
    let Some(login) = &server.login else { return Ok(()) };
    line.send(login).await.map_err(of_io)?;
    line.receive(check_login).await.map_err(of_io)?
}

/// Sends commands together and reads their answers in order.
pub(super) async fn perform<T>(
    line: &mut impl Line,
    commands: &[Command<'_>],
    read: Read<T>,
) -> Result<Vec<T>, Error> {
    let mut values = Vec::with_capacity(commands.len());
    for commands in commands.chunks(CHUNK) {
        line.send(&pack(commands)).await.map_err(of_io)?;
        for command in commands {
            let answer = line.receive(|cursor| parse(cursor, &command.key)).await.map_err(of_io)??;
            values.push(read(answer)?);
        }
    }
    Ok(values)
}
