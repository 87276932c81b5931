//! What is said on a connection.

use super::command::{Command, pack};
use super::reply::{Read, of_io, parse};
use crate::error::Error;
use crate::net::line::Line;

/// The most commands that are written before their answers are read. With more, the buffers of both ends might fill up, and
/// each end would wait for the other to read.
const CHUNK: usize = 256;

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
