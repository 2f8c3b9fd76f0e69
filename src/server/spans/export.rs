//! The export of spans: a bounded queue, batches, and counters for spans that are dropped or rejected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::hyper::HyperClient;
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

/// The most spans in the queue: some megabytes.
const MAX_QUEUED: usize = 4096;
/// The most spans in a batch.
const MAX_BATCH: usize = 512;
/// The interval of batches that are not full.
const BATCH_INTERVAL: Duration = Duration::from_secs(1);
/// The time limit for exporting a batch, after which the batch is dropped.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// The time limit for the last batch at shutdown. The other steps take less than nine of the ten seconds allowed.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// The destination of spans, and the sampling rate.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportSettings {
    /// The collector.
    pub collector: Collector,
    /// The share of traces that is exported, from 0 to 1, for requests without a sampling decision of their caller.
    pub sample: f64,
}

/// A running exporter.
#[derive(Debug)]
pub struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Starts to trace this process, as the program version `version`. Requests to the collector run on `runtime`.
    ///
    /// # Errors
    /// Returns an error if an `OTEL_EXPORTER_OTLP_…` environment variable is invalid.
    pub fn start(
        settings: &ExportSettings,
        version: &'static str,
        runtime: Handle,
    ) -> Result<Self, ExporterBuildError> {
        let exporter = OtlpExporter::builder()
            .with_http()
            .with_http_client(OtlpClient {
                runtime,
                client: HyperClient::with_default_connector(EXPORT_TIMEOUT, None),
            })
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.collector.traces_url())
            .with_timeout(EXPORT_TIMEOUT)
            .build()?;
        let queued = Arc::new(AtomicUsize::new(0));
        let exporter = OtlpSpanExporter {
            exporter,
            queued: queued.clone(),
            is_failing: AtomicBool::new(false),
        };

        let config = BatchConfigBuilder::default()
            .with_max_queue_size(MAX_QUEUED)
            .with_max_export_batch_size(MAX_BATCH)
            .with_scheduled_delay(BATCH_INTERVAL)
            .build();
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(config)
            .build();

        let provider = SdkTracerProvider::builder()
            .with_span_processor(SpanQueue { processor, queued })
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                settings.sample,
            ))))
            .with_resource(resource(version))
            .build();

        // A process has one tracer; a second exporter, in tests, leaves the first one in place.
        let _ = TRACER.set(provider.tracer("fanfare"));

        Ok(Self(provider))
    }

    /// Exports the queued spans, and stops. Blocks for up to a second, so it must not be called from a task.
    pub fn finish(self) {
        if let Err(error) = self.0.shutdown_with_timeout(SHUTDOWN_TIMEOUT) {
            warn!(%error, "the last spans were not exported");
        }
    }
}

/// Returns the attributes of this process. `OTEL_RESOURCE_ATTRIBUTES` overrides them.
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

/// A batch processor that counts the spans that do not fit in the queue.
#[derive(Debug)]
struct SpanQueue {
    processor: BatchSpanProcessor,
    /// Spans that ended and were not exported yet; [`OtlpSpanExporter`] subtracts them.
    queued: Arc<AtomicUsize>,
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.queued.fetch_add(1, Ordering::Relaxed) < MAX_QUEUED {
            self.processor.on_end(span);
        } else {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            metrics::count_spans(1, SpanResult::Dropped);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

/// An exporter that counts its results, and logs the first failure and the next success.
#[derive(Debug)]
struct OtlpSpanExporter {
    exporter: OtlpExporter,
    queued: Arc<AtomicUsize>,
    is_failing: AtomicBool,
}

impl SpanExporter for OtlpSpanExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.queued.fetch_sub(spans, Ordering::Relaxed);

        let span_result = if result.is_ok() {
            SpanResult::Exported
        } else {
            SpanResult::Refused
        };
        metrics::count_spans(spans, span_result);

        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !was_failing => {
                warn!(%error, "the collector does not accept spans (--otlp-endpoint); dropping them until it does");
            }
            Ok(()) if was_failing => info!("the collector accepts spans again"),
            _ => {}
        }

        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
