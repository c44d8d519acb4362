//! Runs programs and measures them: wall time, processor time, memory.
//!
//! Processor time and the peak of the largest process are the kernel's own count, which holds the
//! program and all descendants it has waited for. GNU time asks for it: a process begins with the
//! peak of the one that started it, so that must be a small one. The peak of all processes together
//! is sampled. The server's processor time is that of its postmaster and all of its processes.

mod processes;

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pgstow_core::interrupt::Interrupt;
use pgstow_core::{Error, Result};

/// GNU time, and what it is asked for: seconds of user and system time, KiB of resident memory.
const TIME: &str = "/usr/bin/time";
const TIME_FORMAT: &str = "%U %S %M";
/// How often the memory of all processes is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);
/// A look may take this part of the time at most: the measured programs need the processors.
const SAMPLE_SHARE: u32 = 30;
/// How many lines a failed program's last words may have.
const LAST_WORDS_LINES: usize = 4;

/// Programs joined by pipes.
pub(crate) struct Pipeline {
    programs: Vec<Command>,
    output: Option<PathBuf>,
}

/// What a competitor does for one measurement: steps in order, each of pipelines side by side.
pub(crate) struct Work {
    steps: Vec<Vec<Pipeline>>,
}

/// What a piece of work took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) wall: Duration,
    /// User and system time of the programs.
    pub(crate) client_processor: Duration,
    /// User and system time of the source's server.
    pub(crate) server_processor: Duration,
    /// Peak of resident memory of the largest program.
    pub(crate) peak_process_bytes: u64,
    /// Peak of resident memory of all programs together, as sampled; pages they share count once.
    pub(crate) peak_total_bytes: u64,
}

impl Pipeline {
    pub(crate) fn new(programs: impl IntoIterator<Item = Command>) -> Self {
        Self { programs: programs.into_iter().collect(), output: None }
    }

    /// Writes the last program's standard output into a new file.
    pub(crate) fn into_file(mut self, path: PathBuf) -> Self {
        self.output = Some(path);
        self
    }
}

impl Work {
    /// One program.
    pub(crate) fn program(command: Command) -> Self {
        Self::pipeline(Pipeline::new([command]))
    }

    /// One pipeline.
    pub(crate) fn pipeline(pipeline: Pipeline) -> Self {
        Self { steps: vec![vec![pipeline]] }
    }

    /// Programs side by side.
    pub(crate) fn together(commands: impl IntoIterator<Item = Command>) -> Self {
        Self { steps: vec![commands.into_iter().map(|command| Pipeline::new([command])).collect()] }
    }

    /// Another program, after everything before has ended.
    pub(crate) fn then(mut self, command: Command) -> Self {
        self.steps.push(vec![Pipeline::new([command])]);
        self
    }
}

/// Where a measurement is made.
pub(crate) struct Meter<'m> {
    /// Process id of the source's postmaster.
    pub(crate) postmaster: u32,
    /// Folder for what programs say on standard error.
    pub(crate) said: &'m Path,
    pub(crate) interrupt: &'m Interrupt,
    pub(crate) limits: Limits,
}

/// What nobody may exceed: one that hangs shall not hold up all others, and one that takes all
/// memory shall not bring the machine down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) time: Duration,
    /// Of all programs of a step together.
    pub(crate) memory_bytes: u64,
}

impl Limits {
    /// Why programs have to be ended.
    fn excess(self, time: Duration, memory_bytes: u64) -> Option<String> {
        if time > self.time {
            return Some(format!("it was ended after {} s", self.time.as_secs()));
        }
        let over = memory_bytes > self.memory_bytes;
        over.then(|| {
            format!("it was ended because it had more than {} MiB of memory", self.memory_bytes >> 20)
        })
    }
}

impl Meter<'_> {
    /// Does the work and measures it.
    ///
    /// # Errors
    /// A program that cannot be run or fails, with its last words; an interrupt, after everything
    /// that ran was ended.
    pub(crate) fn measure(&self, work: Work) -> Result<Usage> {
        self.interrupt.check()?;
        let server_before = processes::processor_time_of_server(self.postmaster);
        let begin = Instant::now();
        let mut usage = Usage::default();
        for step in work.steps {
            self.run_step(step, &mut usage)?;
        }
        usage.wall = begin.elapsed();
        let server_after = processes::processor_time_of_server(self.postmaster);
        usage.server_processor = server_after.saturating_sub(server_before);
        Ok(usage)
    }

    fn run_step(&self, pipelines: Vec<Pipeline>, usage: &mut Usage) -> Result<()> {
        let mut running = Running::default();
        let started = pipelines.into_iter().try_for_each(|pipeline| self.start(pipeline, &mut running));
        if let Err(error) = started {
            running.end();
            return Err(error);
        }
        let ids: Vec<u32> = running.programs.iter().map(|program| program.child.id()).collect();
        let done = AtomicBool::new(false);
        let (ended, watched) = std::thread::scope(|scope| {
            let sampler = scope.spawn(|| self.watch(&ids, &done));
            let ended = running.wait();
            done.store(true, Ordering::Relaxed);
            sampler.thread().unpark();
            (ended, sampler.join().unwrap_or_default())
        });
        self.interrupt.check()?;
        if let Some(excess) = watched.excess {
            return Err(Error::failed(excess));
        }
        for ended in ended? {
            if !ended.status.success() {
                return Err(ended.failure());
            }
            usage.client_processor += ended.processor;
            usage.peak_process_bytes = usage.peak_process_bytes.max(ended.peak_bytes);
        }
        // A sample may have missed what the kernel counted.
        usage.peak_total_bytes = usage.peak_total_bytes.max(watched.peak_bytes).max(usage.peak_process_bytes);
        Ok(())
    }

    fn start(&self, pipeline: Pipeline, running: &mut Running) -> Result<()> {
        let output = pipeline.output.map(new_file).transpose()?;
        let mut input = Stdio::null();
        let last = pipeline.programs.len().saturating_sub(1);
        let mut output = output.map_or_else(Stdio::null, Stdio::from);
        for (index, command) in pipeline.programs.into_iter().enumerate() {
            let name = Path::new(command.get_program()).file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            let said = self.said.join(format!("{}-{name}", running.programs.len()));
            let used = said.with_extension("used");
            let mut command = timed(&command, &used);
            command.stdin(input).stderr(new_file(said.clone())?);
            command.stdout(if index == last {
                std::mem::replace(&mut output, Stdio::null())
            } else {
                Stdio::piped()
            });
            let mut child =
                command.spawn().map_err(|error| Error::failed(format!("cannot run {name}")).source(error))?;
            input = child.stdout.take().map_or_else(Stdio::null, Stdio::from);
            running.programs.push(Program { name, said, used, child });
        }
        Ok(())
    }

    /// Samples memory until it is told to stop; ends everything on an interrupt and beyond the limits.
    fn watch(&self, ids: &[u32], done: &AtomicBool) -> Watched {
        let start = Instant::now();
        let mut watched = Watched::default();
        while !done.load(Ordering::Relaxed) {
            let begin = Instant::now();
            let family = processes::with_descendants(ids);
            // The first are GNU time, which ends when its program does.
            let programs = family.get(ids.len()..).unwrap_or_default();
            watched.peak_bytes = watched.peak_bytes.max(processes::resident_bytes(programs));
            if watched.excess.is_none() {
                watched.excess = self.limits.excess(start.elapsed(), watched.peak_bytes);
            }
            if watched.excess.is_some() || self.interrupt.is_triggered() {
                processes::end(programs);
            }
            std::thread::park_timeout(SAMPLE_INTERVAL.max(begin.elapsed() * SAMPLE_SHARE));
        }
        watched
    }
}

/// What was seen while programs ran.
#[derive(Default)]
struct Watched {
    peak_bytes: u64,
    excess: Option<String>,
}

/// Does work that is not measured.
///
/// # Errors
/// As [`Meter::measure`].
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::failed(format!("cannot run {name}")).source(error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::failed(format!("{name} failed with {}", output.status)).why(last_words(&said)))
}

/// The programs of a step; killed when that cannot go on.
#[derive(Default)]
struct Running {
    programs: Vec<Program>,
}

struct Program {
    name: String,
    /// What it says on standard error.
    said: PathBuf,
    /// What it used, as GNU time tells.
    used: PathBuf,
    child: Child,
}

struct Ended {
    name: String,
    said: PathBuf,
    status: ExitStatus,
    processor: Duration,
    peak_bytes: u64,
}

impl Running {
    fn wait(self) -> Result<Vec<Ended>> {
        self.programs.into_iter().map(Program::wait).collect()
    }

    fn end(self) {
        for mut program in self.programs {
            // It may have ended by itself.
            let _ = program.child.kill();
            let _ = program.child.wait();
        }
    }
}

impl Program {
    fn wait(mut self) -> Result<Ended> {
        let status = self
            .child
            .wait()
            .map_err(|error| Error::failed(format!("cannot wait for {}", self.name)).source(error))?;
        let (processor, peak_bytes) = fs::read_to_string(&self.used)
            .ok()
            .and_then(|text| used_in(&text))
            // An interrupt ends GNU time too.
            .or_else(|| (!status.success()).then(Default::default))
            .ok_or_else(|| Error::failed(format!("{TIME} does not tell what {} used", self.name)))?;
        let Self { name, said, .. } = self;
        Ok(Ended { name, said, status, processor, peak_bytes })
    }
}

/// The same program, started by GNU time.
fn timed(command: &Command, used: &Path) -> Command {
    let mut timed = Command::new(TIME);
    timed.args(["-q", "-f", TIME_FORMAT, "-o"]).arg(used).arg("--");
    timed.arg(command.get_program()).args(command.get_args());
    // A program may signal its whole process group when it ends; that shall not be ours.
    timed.process_group(0);
    // Whatever is measured has an environment of its own.
    timed.env_clear();
    timed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        timed.current_dir(folder);
    }
    timed
}

/// Processor time and peak of memory in bytes, from what [`TIME_FORMAT`] gives.
fn used_in(text: &str) -> Option<(Duration, u64)> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [user, system, kilobytes] = fields[..] else { return None };
    let seconds = user.parse::<f64>().ok()? + system.parse::<f64>().ok()?;
    Some((Duration::try_from_secs_f64(seconds).ok()?, kilobytes.parse::<u64>().ok()? * 1024))
}

impl Ended {
    fn failure(&self) -> Error {
        let said = fs::read(&self.said).unwrap_or_default();
        Error::failed(format!("{} failed with {}", self.name, self.status))
            .why(last_words(&String::from_utf8_lossy(&said)))
    }
}

fn new_file(path: PathBuf) -> Result<File> {
    File::create(&path)
        .map_err(|error| Error::failed(format!("cannot write {}", path.display())).source(error))
}

fn last_words(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_WORDS_LINES)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("PATH", "/usr/bin:/bin");
        command
    }

    #[test]
    fn what_gnu_time_tells_is_read() {
        assert_eq!(used_in("1.25 0.50 2048\n"), Some((Duration::from_millis(1750), 2 << 20)));
        assert_eq!(used_in("1.25 0.50"), None);
        assert_eq!(used_in("-1 0 3"), None);
    }

    fn meter<'m>(said: &'m Path, interrupt: &'m Interrupt, limits: Limits) -> Meter<'m> {
        Meter { postmaster: std::process::id(), said, interrupt, limits }
    }

    const AMPLE: Limits = Limits { time: Duration::from_secs(600), memory_bytes: 1 << 40 };

    #[test]
    fn a_program_beyond_a_limit_is_ended() {
        let said = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::new();
        let limits = [Limits { time: Duration::ZERO, ..AMPLE }, Limits { memory_bytes: 1, ..AMPLE }];
        let messages = limits.map(|limits| {
            let meter = meter(said.path(), &interrupt, limits);
            meter.measure(Work::program(shell("sleep 600 & wait"))).unwrap_err().message().to_owned()
        });
        assert_eq!(messages[0], "it was ended after 0 s");
        assert_eq!(messages[1], "it was ended because it had more than 0 MiB of memory");
    }

    fn measured(work: Work) -> Result<Usage> {
        let said = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::new();
        meter(said.path(), &interrupt, AMPLE).measure(work)
    }

    #[test]
    fn a_pipeline_passes_its_data_on_and_every_step_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        let pipeline = Pipeline::new([shell("echo one; echo two"), shell("tr a-z A-Z")]);
        let usage = measured(Work::pipeline(pipeline.into_file(path.clone())).then(shell("true"))).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "ONE\nTWO\n");
        assert!(usage.peak_process_bytes > 0 && usage.peak_total_bytes >= usage.peak_process_bytes);
    }

    #[test]
    fn a_small_program_is_small_whoever_measures_it() {
        let ballast = vec![1_u8; 64 << 20];
        let usage = measured(Work::program(shell("true"))).unwrap();
        assert!(usage.peak_process_bytes < 32 << 20, "{usage:?}");
        assert!(ballast.iter().all(|&byte| byte == 1));
    }

    #[test]
    fn a_failure_anywhere_in_a_pipeline_is_a_failure_with_its_last_words() {
        let error = measured(Work::pipeline(Pipeline::new([shell("echo broken >&2; exit 3"), shell("cat")])))
            .unwrap_err();
        assert!(error.message().contains("exit status: 3"), "{error}");
        assert_eq!(error.reason().as_deref(), Some("broken"));
    }

    #[test]
    fn a_program_that_signals_its_process_group_does_not_reach_us() {
        measured(Work::program(shell("kill -TERM 0"))).unwrap_err();
    }

    #[test]
    fn processor_time_of_children_is_counted() {
        let burn = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let usage = measured(Work::program(shell(&format!("sh -c '{burn}'; true")))).unwrap();
        assert!(usage.client_processor > Duration::ZERO, "{usage:?}");
    }

    #[test]
    fn an_interrupt_ends_what_runs_and_its_children() {
        let said = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::new();
        let meter = meter(said.path(), &interrupt, AMPLE);
        let outcome = std::thread::scope(|scope| {
            let measurement = scope.spawn(|| meter.measure(Work::program(shell("sleep 600 & wait"))));
            while !said.path().join("0-sh").exists() {
                std::thread::yield_now();
            }
            interrupt.trigger();
            measurement.join().unwrap()
        });
        assert_eq!(outcome.unwrap_err().kind(), pgstow_core::ErrorKind::Interrupted);
    }
}
