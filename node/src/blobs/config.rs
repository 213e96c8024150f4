//! Limits of serving and fetching.

use std::num::NonZeroU64;
use std::time::Duration;

/// How this node serves.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Streams that are answered at the same time; each takes a thread and about 1 MiB. More are told that this node
    /// is busy.
    pub streams_max: usize,
    /// Of these, how many may be one peer's.
    pub streams_per_peer_max: usize,
    /// Bytes a second of all streams together; no limit when none is given.
    pub bytes_per_second: Option<NonZeroU64>,
    /// How long a peer may take for the next request of a stream.
    pub request_timeout: Duration,
    /// How long a peer may take for the next 128 KiB of an answer.
    pub write_timeout: Duration,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            streams_max: 32,
            streams_per_peer_max: 4,
            bytes_per_second: None,
            request_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// How this node fetches.
#[derive(Clone, Debug)]
pub struct FetchConfig {
    /// Holders that are asked at the same time; each takes a thread and about 1 MiB.
    pub holders_max: usize,
    /// Bytes of a range that one holder is asked for: a multiple of a group. Larger ones cost more when they are lost,
    /// smaller ones leave gaps between answers.
    pub range_bytes: u64,
    /// Requests ahead on one stream, so that a holder never waits for the next.
    pub ahead: usize,
    /// How long a stream may bring less than a group, while something is asked for, before it is dropped.
    pub stall: Duration,
    /// How long opening a stream may take.
    pub open_timeout: Duration,
    /// How often a holder that stalls, fails or is busy is asked again.
    pub tries_max: u32,
    /// From one try to the next; doubled each time.
    pub retry_after: Duration,
    /// Largest artifact that is fetched, in bytes.
    pub artifact_bytes_max: u64,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            holders_max: 8,
            range_bytes: 8 << 20,
            ahead: 2,
            stall: Duration::from_secs(15),
            open_timeout: Duration::from_secs(20),
            tries_max: 4,
            retry_after: Duration::from_secs(1),
            artifact_bytes_max: 1 << 40,
        }
    }
}
