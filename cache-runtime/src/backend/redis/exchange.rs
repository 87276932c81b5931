//! What is said on a connection: the login, and the commands for each request.

use super::command::{Command, Expected, Set, pack};
use super::reply::{Resp, check_login, check_nothing_done, check_word, judge, of_io, parse, parse_exec};
use super::url::Server;
use super::{Condition, Reply, Request};
use crate::error::{Effect, Error};
use crate::net::line::Line;

/// The server's answer. The outer error is the connection's, the inner one the server's.
pub(super) type Answer<T> = Result<Result<T, Error>, Error>;

/// Says what each new connection says first.
pub(super) async fn log_in(line: &mut impl Line, server: &Server) -> Result<(), Error> {
    for command in &server.login {
        check_login(exchange(line, &command.get_packed_command()).await)?;
    }
    Ok(())
}

/// Performs `request`.
pub(super) async fn perform(line: &mut impl Line, server: &Server, request: &Request<'_>) -> Answer<Reply> {
    let command = match request {
        Request::Get(key) => Command::get(key),
        Request::GetMany(keys) => return server.abilities.get_many(line, keys).await,
        Request::Delete(key) => Command::delete(key),
        Request::Set { key, value, options, condition } => {
            let set = Set { key, value, options: *options };
            match condition {
                Condition::Always => set.always(),
                Condition::Absent => set.if_absent(),
                Condition::Equals { bytes, .. } => {
                    return Box::pin(server.abilities.compare_and_set(line, &set, bytes)).await;
                }
            }
        }
    };
    ask(line, &command).await
}

pub(super) async fn ask(line: &mut impl Line, command: &Command) -> Answer<Reply> {
    judge(exchange(line, &command.packed).await?, command.expected)
}

async fn exchange(line: &mut impl Line, request: &[u8]) -> Result<Resp, Error> {
    line.send(request).await.map_err(of_io)?;
    line.receive(parse).await.map_err(of_io)?
}

/// Reads the values one by one, with one round trip.
pub(super) async fn get_each(line: &mut impl Line, keys: &[&[u8]]) -> Answer<Reply> {
    let packed: Vec<u8> = keys.iter().flat_map(|key| Command::get(key).packed).collect();
    line.send(&packed).await.map_err(of_io)?;
    let (mut values, mut refusal) = (Vec::with_capacity(keys.len()), None);
    for _ in keys {
        let reply = line.receive(parse).await.map_err(of_io)??;
        // All replies are read, because the next call would take the rest for its own.
        match judge(reply, Expected::Value) {
            Ok(Ok(reply)) => values.push(reply.value()?),
            Ok(Err(error)) => refusal = Some(Ok(Err(error))),
            Err(error) if error.has_effect(Effect::Connection) => refusal = Some(Err(error)),
            Err(error) => return Err(error),
        }
    }
    refusal.unwrap_or(Ok(Ok(Reply::Values(values))))
}

/// Stores a value only if `old` is there, in a transaction, with two round trips.
pub(super) async fn set_in_transaction(
    line: &mut impl Line,
    set: &Set<'_>,
    old: &[u8],
) -> Result<Reply, Error> {
    // `SET` is sent only after `MULTI` has been accepted: otherwise it would be performed at once.
    let start = [pack(b"WATCH", &[set.key]), Command::get(set.key).packed, pack(b"MULTI", &[])].concat();
    line.send(&start).await.map_err(of_io)?;
    let watched = line.receive(parse).await.map_err(of_io)??;
    let found = line.receive(parse).await.map_err(of_io)??;
    check_word(line.receive(parse).await.map_err(of_io)??, "OK")?;
    let found = check_word(watched, "OK").and_then(|()| judge(found, Expected::Value)??.value());
    if !matches!(&found, Ok(Some(found)) if found.bytes == old) {
        // Not `DISCARD`: this shows whether `EXEC` is allowed.
        line.send(&pack(b"EXEC", &[])).await.map_err(of_io)?;
        check_nothing_done(line.receive(parse_exec).await.map_err(of_io)??)?;
        return found.map(|_| Reply::Set(None));
    }
    line.send(&[set.always().packed, pack(b"EXEC", &[])].concat()).await.map_err(of_io)?;
    let queued = line.receive(parse).await.map_err(of_io)??;
    let performed = line.receive(parse_exec).await.map_err(of_io)??;
    check_word(queued, "QUEUED")?;
    judge(performed, Expected::Stored)?
}
