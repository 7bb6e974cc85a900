//! How far a long piece of work has come: one line on the terminal, which goes when it is done.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// What takes no longer than this shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the line changes.
const EVERY: Duration = Duration::from_millis(200);

/// A line on stderr, if that is a terminal.
pub(crate) struct Progress {
    doing: &'static str,
    total: Option<u64>,
    started: Instant,
    /// When the line is written next; absent: there is no terminal.
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// Work on so many bytes, if that is known.
    pub(crate) fn new(doing: &'static str, total: Option<u64>) -> Self {
        let started = Instant::now();
        let next = started.checked_add(PATIENCE);
        Self {
            doing,
            total,
            started,
            next: next.filter(|_| std::io::stderr().is_terminal()),
            shown: false,
        }
    }

    /// So many bytes are done.
    pub(crate) fn show(&mut self, done: u64) {
        let Some(next) = self.next else { return };
        let now = Instant::now();
        if now < next {
            return;
        }
        self.next = now.checked_add(EVERY);
        self.shown = true;
        let line = line(
            self.doing,
            done,
            self.total,
            now.duration_since(self.started),
        );
        // Whoever closed stderr does not want to know.
        let _ = write!(std::io::stderr(), "\r{line}\x1b[K");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(doing: &str, done: u64, total: Option<u64>, time: Duration) -> String {
    let speed = u128::from(done)
        .saturating_mul(1000)
        .checked_div(time.as_millis())
        .and_then(|speed| u64::try_from(speed).ok())
        .unwrap_or_default();
    let rate = size(speed);
    // A payload is a little smaller than its file, and a file can grow.
    match total.filter(|total| *total >= done && *total > 0) {
        None => format!("{doing}: {}, {rate}/s", size(done)),
        Some(total) => {
            let percent = u128::from(done)
                .saturating_mul(100)
                .checked_div(total.into());
            let percent = percent.unwrap_or_default();
            let left = total.saturating_sub(done).checked_div(speed);
            let left = left.map_or_else(String::new, |left| format!(", {} left", clock(left)));
            let (done, total) = (size(done), size(total));
            format!("{doing}: {percent}% ({done} of {total}), {rate}/s{left}")
        }
    }
}

/// Bytes in the largest unit of which there is at least one.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = None;
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value >= 1024.0 {
            value /= 1024.0;
            unit = Some(larger);
        }
    }
    unit.map_or_else(|| format!("{bytes} B"), |unit| format!("{value:.1} {unit}"))
}

fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        let second = Duration::from_secs(1);
        let gib = 1 << 30;
        assert_eq!(
            line("encrypting", gib, Some(4 * gib), second),
            "encrypting: 25% (1.0 GiB of 4.0 GiB), 1.0 GiB/s, 0:03 left"
        );
        assert_eq!(
            line("encrypting", 1000, None, second),
            "encrypting: 1000 B, 1000 B/s"
        );
        assert_eq!(
            line("decrypting", 0, Some(1024), second),
            "decrypting: 0% (0 B of 1.0 KiB), 0 B/s"
        );
        // More than there was to be done.
        assert_eq!(
            line("decrypting", 5000, Some(10), second),
            "decrypting: 4.9 KiB, 4.9 KiB/s"
        );
    }

    #[test]
    fn sizes_and_times_are_read_at_a_glance() {
        let sizes = [0, 1023, 1024, 1_500_000, u64::MAX].map(size);
        assert_eq!(
            sizes,
            ["0 B", "1023 B", "1.0 KiB", "1.4 MiB", "16777216.0 TiB"]
        );
        assert_eq!([59, 60, 3661].map(clock), ["0:59", "1:00", "1:01:01"]);
    }
}
