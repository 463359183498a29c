//! What does the process take from the machine? The standard metrics of a process, on Linux.

use std::{fmt, fs};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// In which /proc counts time; Linux tells it so on every machine, whatever the kernel's own clock.
const TICKS_A_SECOND: f64 = 100.0;

/// Reads /proc when it is asked; where there is none, nothing is served.
#[derive(Debug)]
pub struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let (stat, status) = (read("self/stat"), read("self/status"));
        let stat: Vec<&str> = stat.as_deref().map(after_name).unwrap_or_default();
        let ticks = |field: usize| Some(stat.get(field)?.parse::<f64>().ok()? / TICKS_A_SECOND);
        let status = |name: &str| number_after(status.as_deref()?, name);
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        let resident = status("VmRSS:").map(|kilobytes| kilobytes * 1024.0);
        gauge("process_resident_memory", "Resident memory", Some(&Unit::Bytes), resident)?;
        gauge("process_threads", "Threads", None, status("Threads:"))?;
        gauge("process_open_fds", "Open file descriptors", None, open_files())?;
        let most = read("self/limits").and_then(|limits| number_after(&limits, "Max open files"));
        gauge("process_max_fds", "File descriptors that may be open", None, most)?;
        let booted = read("stat").and_then(|stat| number_after(&stat, "btime"));
        let started = booted.zip(ticks(START)).map(|(booted, after)| booted + after);
        let help = "When the process started, in seconds since 1970";
        gauge("process_start_time", help, Some(&Unit::Seconds), started)?;
        let Some(spent) = ticks(USER).zip(ticks(SYSTEM)).map(|(user, system)| user + system) else { return Ok(()) };
        let counter = ConstCounter::new(spent);
        let help = "Time on processors, of user and system";
        let unit = Some(&Unit::Seconds);
        counter.encode(encoder.encode_descriptor("process_cpu", help, unit, counter.metric_type())?)
    }
}

/// Fields of /proc/self/stat, counted from the one after the name of the program: see proc(5).
const USER: usize = 11;
const SYSTEM: usize = 12;
const START: usize = 19;

fn read(file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{file}")).ok()
}

/// The name of the program may contain anything, also blanks and brackets.
fn after_name(stat: &str) -> Vec<&str> {
    stat.rsplit_once(") ").map(|(_, fields)| fields.split_ascii_whitespace().collect()).unwrap_or_default()
}

/// The first number of the line that begins so; none if it is unlimited.
fn number_after(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|number| number as f64)
}

fn open_files() -> Option<f64> {
    // The folder itself is open while it is read.
    Some((fs::read_dir("/proc/self/fd").ok()?.count() as f64 - 1.0).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_confuses_nobody() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 3 0 12345 1 2";
        let fields = after_name(stat);
        assert_eq!((fields[USER], fields[SYSTEM], fields[START]), ("250", "50", "12345"));
    }

    #[test]
    fn a_line_is_found_by_its_name() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 1048576              files     \n\
                      Max file size             unlimited            unlimited            bytes     \n";
        assert_eq!(number_after(limits, "Max open files"), Some(1024.0));
        assert_eq!(number_after(limits, "Max file size"), None);
        assert_eq!(number_after("VmRSS:\t    2048 kB\n", "VmRSS:"), Some(2048.0));
    }
}
