//! The settings of tracing.

use crate::server::config::reader::ConfigReader;
use crate::server::config::value;
use crate::server::spans::{Collector, ExportSettings};

/// Reads the settings of the span export. `None` means that tracing is off.
pub(super) fn read(reader: &mut ConfigReader<'_>) -> Option<ExportSettings> {
    let collector = reader.optional("otlp-endpoint", Collector::parse);
    let sample = reader.value("otlp-sample", ratio);
    collector.map(|collector| ExportSettings { collector, sample })
}

/// Parses a fraction.
fn ratio(text: &str) -> Result<f64, &'static str> {
    let allowed = "a number from 0 to 1, like 0.01 for one of a hundred";
    value::number(text, 0.0..=1.0, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_a_number_from_0_to_1() {
        assert_eq!(ratio("0"), Ok(0.0));
        assert_eq!(ratio("0.25"), Ok(0.25));
        assert_eq!(ratio("1"), Ok(1.0));

        for text in ["", "1.1", "-0.1", "NaN", "1%", "all"] {
            assert!(ratio(text).is_err(), "{text}");
        }
    }
}
