//! What is said on a connection: the login, and the commands for each request.

use std::{io, mem};

use super::command::{Command, Expected, Set, pack};
use super::reply::{
    Resp, check_login, check_nothing_done, check_role, check_word, judge, of_io, parse, parse_exec,
    parse_nested, unexpected,
};
use super::topology::{SlotRange, primary_address, slot_ranges};
use super::url::{Role, Server};
use super::{Condition, Reply, Request};
use crate::error::{Effect, Error, ErrorKind};
use crate::net::dial::Address;
use crate::net::line::Line;
use crate::net::pool::idle::Retry;
use crate::net::read_buffer::{Cursor, ParseError};

/// The server's answer. The outer error is the connection's, the inner one the server's.
pub(super) type Answer<T> = Result<Result<T, Error>, Error>;

/// What a connection is used for.
pub(super) trait Question: Sync {
    type Answer: Send;

    fn retry(&self) -> Retry;

    fn ask(&self, line: &mut impl Line, server: &Server)
    -> impl Future<Output = Answer<Self::Answer>> + Send;
}

/// A request, performed.
impl Question for Request<'_> {
    type Answer = Reply;

    fn retry(&self) -> Retry {
        Request::retry(self)
    }

    async fn ask(&self, line: &mut impl Line, server: &Server) -> Answer<Reply> {
        perform(line, server, self).await
    }
}

/// A request for a key that is moving to this node: see `ASK` in the
/// [specification](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#ask-redirection).
pub(super) struct Asking<'a>(pub(super) &'a Request<'a>);

impl Question for Asking<'_> {
    type Answer = Reply;

    fn retry(&self) -> Retry {
        self.0.retry()
    }

    async fn ask(&self, line: &mut impl Line, server: &Server) -> Answer<Reply> {
        perform(&mut AskingLine { line, is_due: false }, server, self.0).await
    }
}

/// Puts `ASKING` in front of each command.
struct AskingLine<'l, L> {
    line: &'l mut L,
    /// The reply to `ASKING` comes next.
    is_due: bool,
}

impl<L: Line> Line for AskingLine<'_, L> {
    async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.is_due = true;
        self.line.send(&[&pack(b"ASKING", &[]), request].concat()).await
    }

    async fn receive<T: Send>(
        &mut self,
        parser: impl Fn(&mut Cursor<'_>) -> Result<T, ParseError> + Send,
    ) -> io::Result<Result<T, Error>> {
        if mem::take(&mut self.is_due)
            && let Err(error) = self.line.receive(parse).await?.and_then(|reply| check_word(reply, "OK"))
        {
            return Ok(Err(error));
        }
        self.line.receive(parser).await
    }
}

/// Which node has which keys of a cluster.
pub(super) struct Slots;

impl Question for Slots {
    type Answer = Vec<SlotRange>;

    fn retry(&self) -> Retry {
        Retry::Once
    }

    async fn ask(&self, line: &mut impl Line, server: &Server) -> Answer<Vec<SlotRange>> {
        line.send(&pack(b"CLUSTER", &[b"SLOTS"])).await.map_err(of_io)?;
        let reply = line.receive(parse_nested).await.map_err(of_io)??;
        Ok(slot_ranges(reply, &server.address))
    }
}

/// Where the primary of this name is, as a sentinel knows it.
pub(super) struct PrimaryOf<'n>(pub(super) &'n str);

impl Question for PrimaryOf<'_> {
    type Answer = Address;

    fn retry(&self) -> Retry {
        Retry::Once
    }

    async fn ask(&self, line: &mut impl Line, _: &Server) -> Answer<Address> {
        let command = pack(b"SENTINEL", &[b"GET-MASTER-ADDR-BY-NAME", self.0.as_bytes()]);
        line.send(&command).await.map_err(of_io)?;
        let reply = line.receive(parse_nested).await.map_err(of_io)??;
        Ok(primary_address(reply, self.0))
    }
}

/// Says what each new connection says first.
pub(super) async fn log_in(line: &mut impl Line, server: &Server) -> Result<(), Error> {
    for command in &*server.login {
        check_login(exchange(line, &command.get_packed_command()).await)?;
    }
    if server.role == Role::Primary {
        line.send(&pack(b"ROLE", &[])).await.map_err(of_io)?;
        check_role(line.receive(parse_nested).await.map_err(of_io)??)?;
    }
    Ok(())
}

/// Performs `request`.
async fn perform(line: &mut impl Line, server: &Server, request: &Request<'_>) -> Answer<Reply> {
    if server.role == Role::Node
        && let Some(commands) = commands_for_each(request)
    {
        return ask_each(line, &commands).await.map(|replies| Ok(Reply::Each(replies)));
    }
    let command = match request {
        Request::Get(key) => Command::get(key),
        Request::GetMany(keys) => return server.abilities.get_many(line, keys).await,
        Request::SetMany { .. } => return perform_each(line, request).await,
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

/// The commands of a request for several keys, one for each; `None` if it is for one key.
fn commands_for_each(request: &Request<'_>) -> Option<Vec<Command>> {
    Some(match request {
        Request::GetMany(keys) => keys.iter().map(|key| Command::get(key)).collect(),
        Request::DeleteMany(keys) => keys.iter().map(|key| Command::delete(key)).collect(),
        Request::SetMany { entries, options } => {
            let options = *options;
            entries.iter().map(|(key, value)| Set { key, value, options }.always()).collect()
        }
        _ => return None,
    })
}

/// Performs a request for several keys with one round trip, and a command for each key.
pub(super) async fn perform_each(line: &mut impl Line, request: &Request<'_>) -> Answer<Reply> {
    let replies = ask_each(line, &commands_for_each(request).unwrap_or_default()).await?;
    Ok(Reply::of_each(request, replies))
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
