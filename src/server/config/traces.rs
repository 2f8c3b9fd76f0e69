//! Settings of what is traced.

use crate::server::config::reading::ConfigReader;
use crate::server::spans::{Collector, ExportSettings};

/// `None` inside: nothing is traced.
pub(super) fn read(reading: &mut ConfigReader<'_>) -> Option<Option<ExportSettings>> {
    let collector = reading.optional("otlp-endpoint", Collector::parse);
    let sample = reading.value("otlp-sample", ratio);
    let (collector, sample) = (collector?, sample?);
    Some(collector.map(|collector| ExportSettings { collector, sample }))
}

fn ratio(text: &str) -> Result<f64, &'static str> {
    text.parse()
        .ok()
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or("a number from 0 to 1, like 0.01 for one of a hundred")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_a_number_from_0_to_1() {
        assert_eq!(
            (ratio("0"), ratio("0.25"), ratio("1")),
            (Ok(0.0), Ok(0.25), Ok(1.0))
        );
        for wrong in ["", "1.1", "-0.1", "NaN", "1%", "all"] {
            assert!(ratio(wrong).is_err(), "{wrong}");
        }
    }
}
