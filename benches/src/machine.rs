//! What the operating system tells and is told: pinning, foreign load, what machine this is.

use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Foreign load of more than this share of a sample spoils it.
const TOLERANCE: f64 = 0.03;
/// `/proc` counts time in units of 10 ms, so less than two of them is no finding.
const TICK: f64 = 0.01;

/// Keeps this thread, and those it starts from now on, on the processors `cpus`.
pub fn pin(cpus: &[usize]) {
    let mut set = CpuSet::new();
    let known = cpus.iter().all(|cpu| set.set(*cpu).is_ok());
    if !known || sched_setaffinity(Pid::from_raw(0), &set).is_err() {
        eprintln!("warning: can't pin to the processors {cpus:?}");
    }
}

/// Keeps all threads of the processes `pids`, and those they start from now on, on the processors `cpus`.
pub fn place(pids: &[u32], cpus: &[usize]) {
    let mut set = CpuSet::new();
    let known = cpus.iter().all(|cpu| set.set(*cpu).is_ok());
    let threads =
        pids.iter().flat_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten());
    for thread in threads.flatten() {
        let id = thread.file_name().to_string_lossy().parse().map(Pid::from_raw);
        // A thread may have ended meanwhile.
        let _ = id.map(|id| sched_setaffinity(id, &set));
    }
    if !known {
        eprintln!("warning: can't pin to the processors {cpus:?}");
    }
}

/// How many processors there are.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// How foreign load is noticed.
#[derive(Debug, Clone)]
pub enum Watch {
    /// The work keeps this many processors busy: it is disturbed if it got less time on them than passed.
    Busy(u32),
    /// The work waits at times: it is disturbed if the machine was busy with anything but this process and the
    /// processes `own`.
    Machine {
        /// Servers that belong to the work.
        own: Vec<u32>,
    },
    /// It is not.
    Nothing,
}

impl Watch {
    /// What the counters say: seconds of processor time.
    pub fn seconds(&self) -> f64 {
        match self {
            Self::Busy(_) => process_time(),
            Self::Machine { own } => {
                busy_time() - process_time() - own.iter().map(|pid| time_of(*pid)).sum::<f64>()
            }
            Self::Nothing => 0.0,
        }
    }

    /// Whether a sample that took `elapsed` had what it needed of the machine, when the counters rose by `counted`.
    pub fn is_undisturbed(&self, elapsed: Duration, counted: f64) -> bool {
        let elapsed = elapsed.as_secs_f64();
        match self {
            Self::Busy(threads) => counted >= f64::from(*threads) * elapsed * (1.0 - TOLERANCE),
            Self::Machine { .. } => counted <= (elapsed * TOLERANCE).max(2.0 * TICK),
            Self::Nothing => true,
        }
    }
}

/// Seconds that this process's threads were on a processor.
fn process_time() -> f64 {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .map_or(0.0, |time| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}

/// Seconds that all processors were busy, or stolen by other machines on the same host.
fn busy_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.lines().next().unwrap_or_default().split_whitespace().filter_map(|f| f.parse().ok()).collect();
    // user, nice, system, (idle, iowait,) irq, softirq, steal: see proc_stat(5).
    [0, 1, 2, 5, 6, 7].iter().filter_map(|index| fields.get(*index)).sum::<f64>() * TICK
}

/// Seconds that another process was on a processor.
fn time_of(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold spaces; behind it utime and stime are the fields 12 and 13.
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    behind_name.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<f64>().ok()).sum::<f64>() * TICK
}

/// The machine in a line: processor, count, memory, kernel.
pub fn description() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split(':').nth(1).unwrap_or("unknown").trim().to_owned()
    };
    let model = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let gib =
        memory.split(' ').next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / f64::from(1 << 20);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{model}, {} processors, {gib:.0} GiB, Linux {}", cpus(), kernel.trim())
}

/// The first line that a command prints.
pub fn first_line_of(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
