//! Which of several servers has which key, and commands batched by server.

use twox_hash::XxHash3_64;

use super::command::Command;
use super::url::Server;
use crate::error::Error;

/// What distinguishes a server in [`route`]: the same on every machine.
pub(super) fn seed(host: &str, port: u16) -> u64 {
    XxHash3_64::oneshot(format!("{host}:{port}").as_bytes())
}

/// The index of the server that has `key`, by rendezvous hashing: the server with the highest score for the key. So one
/// server more or less moves only its own keys (Thaler and Ravishankar: "Using Name-Based Mappings to Increase Hit Rates",
/// 1998).
pub(super) fn route(servers: &[Server], key: &[u8]) -> usize {
    if servers.len() == 1 {
        return 0;
    }
    let score = |index: &usize| XxHash3_64::oneshot_with_seed(servers[*index].seed, key);
    (0..servers.len()).max_by_key(score).unwrap_or(0)
}

/// Commands for one server, and the places of their answers among all answers.
pub(super) struct Batch<'k> {
    pub(super) server: usize,
    pub(super) places: Vec<usize>,
    pub(super) commands: Vec<Command<'k>>,
}

/// The commands by server.
pub(super) fn batches<'k>(
    servers: &[Server],
    commands: impl IntoIterator<Item = Command<'k>>,
) -> Vec<Batch<'k>> {
    let mut batches: Vec<Batch<'k>> = Vec::new();
    for (place, command) in commands.into_iter().enumerate() {
        let server = route(servers, &command.key);
        let index = batches.iter().position(|batch| batch.server == server).unwrap_or_else(|| {
            batches.push(Batch { server, places: Vec::new(), commands: Vec::new() });
            batches.len() - 1
        });
        batches[index].places.push(place);
        batches[index].commands.push(command);
    }
    batches
}

/// The answers to `batches` in the order of the commands they were made of.
pub(super) fn in_order<T>(
    batches: &[Batch<'_>],
    answers: Vec<Result<Vec<T>, Error>>,
) -> Result<Vec<T>, Error> {
    let mut placed = Vec::new();
    for (batch, values) in batches.iter().zip(answers) {
        placed.extend(batch.places.iter().copied().zip(values?));
    }
    placed.sort_unstable_by_key(|(place, _)| *place);
    Ok(placed.into_iter().map(|(_, value)| value).collect())
}

/// What became of each command that `batches` were made of.
pub(super) fn to_each<T>(
    batches: &[Batch<'_>],
    answers: Vec<Result<Vec<T>, Error>>,
) -> Vec<Result<T, Error>> {
    let mut placed = Vec::new();
    for (batch, answers) in batches.iter().zip(answers) {
        let places = batch.places.iter().copied();
        match answers {
            Ok(values) => placed.extend(places.zip(values.into_iter().map(Ok))),
            Err(error) => placed.extend(places.map(|place| (place, Err(error.clone())))),
        }
    }
    placed.sort_unstable_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::memcached::Memcached;

    fn servers(text: &str) -> Vec<Server> {
        Memcached::from_url(text).unwrap().servers
    }

    #[test]
    fn keys_are_routed_as_ever() {
        let three = servers("memcached://cache1,cache2,cache3");
        let indexes: Vec<_> = (0..12).map(|n| route(&three, format!("user:{n}").as_bytes())).collect();
        assert_eq!(indexes, [1, 2, 1, 2, 0, 1, 0, 0, 2, 0, 1, 0]);
    }

    #[test]
    fn one_server_more_moves_only_the_keys_it_takes() {
        let three = servers("memcached://cache1,cache2,cache3");
        let four = servers("memcached://cache4,cache1,cache2,cache3");
        let mut taken = 0;
        for n in 0..1000_u32 {
            let (before, after) = (route(&three, &n.to_le_bytes()), route(&four, &n.to_le_bytes()));
            assert!(after == 0 || after == before + 1);
            taken += u32::from(after == 0);
        }
        assert!((150..350).contains(&taken), "{taken} of 1000 moved");
    }

    #[test]
    fn batches_go_by_server_and_answers_come_back_in_order() {
        let three = servers("memcached://cache1,cache2,cache3");
        let keys: Vec<_> = (0..100_u32).map(|n| n.to_string()).collect();
        let batches = batches(&three, keys.iter().map(|key| Command::get(key.as_bytes())));
        assert_eq!(batches.len(), 3);
        let answers = batches.iter().map(|batch| Ok(batch.places.clone())).collect();
        assert_eq!(in_order(&batches, answers).unwrap(), (0..100).collect::<Vec<_>>());
    }
}
