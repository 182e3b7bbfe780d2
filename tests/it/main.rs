//! One binary for all integration tests; a module per promise.

mod architecture;
mod cli;
mod codec_avro_reference;
mod codec_golden;
mod codec_hostile;
mod config;
mod crash;
mod http_auth;
mod http_errors;
mod http_ingest;
mod http_native;
mod http_openapi;
mod http_support;
mod kafka_forward;
mod kafka_sink;
mod kafka_source;
mod kafka_support;
mod kafka_topics;
mod law;
mod oracle;
mod reference;
mod start;
mod store_contract;
mod store_on_disk;
mod support;
mod under_ingest;
