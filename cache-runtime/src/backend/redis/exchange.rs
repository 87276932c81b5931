//! What is said on a connection: the login, and the commands for each request.

use bytes::Bytes;

use super::command::{Command, Expected, Set, pack};
use super::reply::{
    Resp, check_login, check_nothing_done, check_word, judge, of_io, parse, parse_exec, unexpected,
};
use super::url::Server;
use super::{Condition, Reply, Request, SetOptions};
use crate::error::{Effect, Error, ErrorKind};
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
        Request::SetMany { entries, options } => return set_many(line, entries, *options).await,
        Request::Delete(key) => Command::delete(key),
        Request::DeleteMany(keys) => return server.abilities.delete_many(line, keys).await,
        Request::Contains(key) => Command::contains(key),
        Request::Touch { key, ttl: Some(ttl) } => Command::expire(key, *ttl),
        Request::Touch { key, ttl: None } => return persist(line, key).await,
        Request::Incr { key, by } => {
            return Box::pin(server.abilities.incr(line, key, *by)).await;
        }
        Request::Ttl(key) => Command::ttl(key),
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

/// Sends commands together, with one round trip. Returns the server's answer to each.
async fn ask_each(line: &mut impl Line, commands: &[Command]) -> Result<Vec<Result<Reply, Error>>, Error> {
    let packed: Vec<u8> = commands.iter().flat_map(|command| command.packed.iter().copied()).collect();
    line.send(&packed).await.map_err(of_io)?;
    let (mut replies, mut closes) = (Vec::with_capacity(commands.len()), None);
    for command in commands {
        let reply = line.receive(parse).await.map_err(of_io)??;
        // All replies are read, because the next call would take the rest for its own.
        match judge(reply, command.expected) {
            Ok(reply) => replies.push(reply),
            Err(error) if error.has_effect(Effect::Connection) => closes = Some(error),
            Err(error) => return Err(error),
        }
    }
    closes.map_or(Ok(replies), Err)
}

/// Reads the values one by one, with one round trip.
pub(super) async fn get_each(line: &mut impl Line, keys: &[&[u8]]) -> Answer<Reply> {
    let commands: Vec<_> = keys.iter().map(|key| Command::get(key)).collect();
    let replies = ask_each(line, &commands).await?;
    Ok(replies.into_iter().map(|reply| reply?.value()).collect::<Result<_, _>>().map(Reply::Values))
}

async fn set_many(line: &mut impl Line, entries: &[(&[u8], Bytes)], options: SetOptions) -> Answer<Reply> {
    let command = |(key, value): &(&[u8], Bytes)| Set { key, value, options }.always();
    let commands: Vec<_> = entries.iter().map(command).collect();
    let replies = ask_each(line, &commands).await?;
    Ok(Ok(Reply::SetEach(replies.into_iter().map(|reply| reply?.set().map(drop)).collect())))
}

/// Removes keys one by one, with one round trip.
pub(super) async fn delete_each(line: &mut impl Line, keys: &[&[u8]]) -> Answer<Reply> {
    let commands: Vec<_> = keys.iter().map(|key| Command::delete(key)).collect();
    let mut count = 0;
    for reply in ask_each(line, &commands).await? {
        match reply.and_then(Reply::done) {
            Ok(done) => count += usize::from(done),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(Reply::Count(count)))
}

/// Makes an entry stay. `PERSIST` alone doesn't tell an entry that stays anyway from none.
async fn persist(line: &mut impl Line, key: &[u8]) -> Answer<Reply> {
    let mut replies = ask_each(line, &[Command::persist(key), Command::contains(key)]).await?;
    let exists = replies.pop().unwrap_or_else(|| Err(unexpected()));
    Ok(replies.pop().unwrap_or_else(|| Err(unexpected())).and(exists))
}

/// How often a transaction is tried again, because others have changed the key meanwhile.
const MAX_CONFLICTS: usize = 1000;

/// Adds to the number under `key` if there is one, in a transaction, with two round trips.
pub(super) async fn incr_in_transaction(line: &mut impl Line, key: &[u8], by: i64) -> Result<Reply, Error> {
    for _ in 0..MAX_CONFLICTS {
        let start = [pack(b"WATCH", &[key]), Command::contains(key).packed, pack(b"MULTI", &[])].concat();
        line.send(&start).await.map_err(of_io)?;
        let watched = line.receive(parse).await.map_err(of_io)??;
        let exists = line.receive(parse).await.map_err(of_io)??;
        check_word(line.receive(parse).await.map_err(of_io)??, "OK")?;
        let exists = check_word(watched, "OK").and_then(|()| judge(exists, Expected::Count)??.done());
        if !matches!(exists, Ok(true)) {
            line.send(&pack(b"EXEC", &[])).await.map_err(of_io)?;
            check_nothing_done(line.receive(parse_exec).await.map_err(of_io)??)?;
            return exists.map(|_| Reply::Number(None));
        }
        line.send(&[Command::incr(key, by).packed, pack(b"EXEC", &[])].concat()).await.map_err(of_io)?;
        let queued = line.receive(parse).await.map_err(of_io)??;
        let performed = line.receive(parse_exec).await.map_err(of_io)??;
        check_word(queued, "QUEUED")?;
        // Nil if the key has changed since it was watched.
        if performed != Resp::Bulk(None) {
            return judge(performed, Expected::Number)?;
        }
    }
    Err(Error::new(ErrorKind::Server, "others change the number all the time"))
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
