//! What time is it at the simulated Cloudflare, and how is it written?

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

/// A moment in microseconds since 1970.
pub type Micros = i64;

pub struct Clock {
    wall: Micros,
    since: Instant,
    ahead: Micros,
    last: Micros,
}

impl Clock {
    pub fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Clock { wall: wall.as_micros() as Micros, since: Instant::now(), ahead: 0, last: 0 }
    }

    pub fn now(&self) -> Micros {
        self.wall + self.since.elapsed().as_micros() as Micros + self.ahead
    }

    /// A stamp that no earlier call returned, so that `created` orders objects.
    pub fn stamp(&mut self) -> Stamp {
        self.last = self.now().max(self.last + 1);
        Stamp::at(self.last)
    }

    pub fn advance(&mut self, by: Duration) {
        self.ahead += by.as_micros() as Micros;
    }
}

/// A moment with its text, which is rendered far more often than it changes.
#[derive(Clone, Debug)]
pub struct Stamp {
    pub at: Micros,
    text: Arc<str>,
}

impl Stamp {
    pub fn at(at: Micros) -> Stamp {
        Stamp { at, text: rfc3339(at).into() }
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

fn rfc3339(at: Micros) -> String {
    let (year, month, day) = date(at.div_euclid(86_400_000_000));
    let rest = at.rem_euclid(86_400_000_000);
    let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{micros:06}Z")
}

/// The form of the `Date` header.
pub fn http_date(at: Micros) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = at.div_euclid(86_400_000_000);
    let (year, month, day) = date(days);
    let seconds = at.rem_euclid(86_400_000_000) / 1_000_000;
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let weekday = DAYS[days.rem_euclid(7) as usize];
    let month = MONTHS[month as usize - 1];
    format!("{weekday}, {day:02} {month} {year:04} {h:02}:{m:02}:{s:02} GMT")
}

/// Year, month and day of a day number, counted in eras of 400 years that begin in March.
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_the_api_and_http_write_them() {
        let at = 1_709_210_096_000_007;
        assert_eq!(rfc3339(at), "2024-02-29T12:34:56.000007Z");
        assert_eq!(http_date(at), "Thu, 29 Feb 2024 12:34:56 GMT");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
    }
}
