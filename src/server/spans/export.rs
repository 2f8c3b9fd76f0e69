//! The way of spans out of the process: a queue with an end, batches, and what is done when they are not taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Span, SpanData,
    SpanExporter, SpanProcessor,
};
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::server::metrics::{self, SpanResult};
use crate::server::spans::TRACER;
use crate::server::spans::collector::{Collector, OtlpClient};

/// Spans that may wait to be brought away: some megabytes.
const MAX_WAITING: usize = 4096;
/// Spans that are brought together.
const BATCH: usize = 512;
/// How often they are, when there are fewer.
const EVERY: Duration = Duration::from_secs(1);
/// A collector that has not taken a batch by then does not get it.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the end may wait for the last ones; what else it does takes less than nine of ten seconds.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// Where spans go, and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportSettings {
    /// Who takes them.
    pub collector: Collector,
    /// The part of all traces that is taken, from 0 to 1, of those for which no caller has decided.
    pub sample: f64,
}

/// Brings spans away until it is finished.
#[derive(Debug)]
pub struct Exporter(SdkTracerProvider);

impl Exporter {
    /// From now on this process is traced, as the program `version`; what talks to the collector runs on `runtime`.
    ///
    /// # Errors
    /// If a variable that OpenTelemetry gives a meaning to (`OTEL_EXPORTER_OTLP_…`) cannot be read.
    pub fn start(
        settings: &ExportSettings,
        version: &'static str,
        runtime: Handle,
    ) -> Result<Self, ExporterBuildError> {
        let exporter = OtlpExporter::builder()
            .with_http()
            .with_http_client(OtlpClient {
                runtime,
                patience: PATIENCE,
            })
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.collector.traces())
            .with_timeout(PATIENCE)
            .build()?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let exporter = OtlpSpanExporter {
            exporter,
            waiting: waiting.clone(),
            is_failing: AtomicBool::new(false),
        };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_WAITING)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(EVERY)
            .build();
        let batches = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(SpanQueue { batches, waiting })
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                settings.sample,
            ))))
            .with_resource(resource(version))
            .build();
        // A second call in one process changes nothing.
        let _ = TRACER.set(provider.tracer("fanfare"));
        Ok(Self(provider))
    }

    /// Brings away what waits, if that is quick, and ends. It blocks: not for a task of the runtime.
    pub fn finish(self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_WITHIN) {
            warn!(%error, "the last spans were not exported");
        }
    }
}

/// Whose spans they are. What `OTEL_RESOURCE_ATTRIBUTES` says counts more.
fn resource(version: &'static str) -> Resource {
    let instance = format!("{:032x}", fastrand::u128(..));
    Resource::builder_empty()
        .with_service_name("fanfare")
        .with_attributes([
            KeyValue::new("service.version", version),
            KeyValue::new("service.instance.id", instance),
        ])
        .with_detector(Box::new(EnvResourceDetector::new()))
        .build()
}

/// Counts who waits, so that what finds no room is counted too.
#[derive(Debug)]
struct SpanQueue {
    batches: BatchSpanProcessor,
    /// Spans that have ended and were not yet taken or given up; [`OtlpSpanExporter`] counts them off.
    waiting: Arc<AtomicUsize>,
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING {
            self.batches.on_end(span);
        } else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            metrics::count_spans(1, SpanResult::Dropped);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Brings batches away and counts what becomes of them; the log hears of the first failure and of the next success.
#[derive(Debug)]
struct OtlpSpanExporter {
    exporter: OtlpExporter,
    waiting: Arc<AtomicUsize>,
    is_failing: AtomicBool,
}

impl SpanExporter for OtlpSpanExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        metrics::count_spans(
            spans,
            if result.is_ok() {
                SpanResult::Exported
            } else {
                SpanResult::Refused
            },
        );
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !was_failing => {
                warn!(%error, "the collector takes no spans (--otlp-endpoint); they are dropped until it does");
            }
            Ok(()) if was_failing => info!("the collector takes spans again"),
            _ => {}
        }
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
