//! The `date` of an HTTP answer (RFC 9110, section 5.6.7): the collector's clock, to the second.

use evidence::time::{DayLabel, Timestamp};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that may be sent. The day of the week is not looked at.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let (_, rest) = text.split_once(", ")?;
    let words: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = words.as_slice() else { return None };
    let number = |text: &str, digits: usize| -> Option<u64> {
        (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let month = u8::try_from(MONTHS.iter().position(|name| name == month)?).ok()?.checked_add(1)?;
    let first = DayLabel::first_of(u16::try_from(number(year, 4)?).ok()?, month)?;
    let days = number(day, 2)?.checked_sub(1).filter(|days| *days < 31)?;
    let clock: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = clock.as_slice() else { return None };
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Timestamp(first.start_utc().ms().checked_add(seconds * 1000)?))
}

#[cfg(test)]
mod tests {
    use super::{Timestamp, parse};

    #[test]
    fn the_one_form_is_read() {
        let read = |text: &str| parse(text).map(Timestamp::rfc3339);
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT").as_deref(), Some("1994-11-06T08:49:37.000Z"));
        assert_eq!(read("Thu, 29 Feb 2024 23:59:59 GMT").as_deref(), Some("2024-02-29T23:59:59.000Z"));
        for bad in [
            "",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 +0100",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 99999 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
