//! Limits of serving and fetching.

use std::num::NonZeroU64;
use std::time::Duration;

/// How this node serves.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// Streams that are answered at the same time; each takes 128 KiB beside what its connection
    /// buffers. More are told that this node is busy.
    pub streams_max: usize,
    /// Of these, how many may be one peer's.
    pub streams_per_peer_max: usize,
    /// Bytes a second of all streams together; no limit when none is given.
    pub bytes_per_second: Option<NonZeroU64>,
    /// How long a peer may take for the next request of a stream.
    pub request_timeout: Duration,
    /// How long a peer may take for the next 128 KiB of an answer.
    pub write_timeout: Duration,
    /// While all streams are taken: bytes a second below which a peer loses its own, and how long it may ask for nothing.
    pub full: WhenFull,
}

/// What is asked of peers while others wait.
#[derive(Clone, Copy, Debug)]
pub struct WhenFull {
    /// Bytes a second that each must take.
    pub bytes_per_second_min: NonZeroU64,
    /// How long one may ask for nothing.
    pub request_timeout: Duration,
}

impl Default for WhenFull {
    fn default() -> Self {
        // A line of half a megabit is served; 32 of them take 2 MiB a second.
        const BYTES_PER_SECOND_MIN: NonZeroU64 = NonZeroU64::new(64 << 10).unwrap();
        Self { bytes_per_second_min: BYTES_PER_SECOND_MIN, request_timeout: Duration::from_secs(2) }
    }
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            streams_max: 32,
            streams_per_peer_max: 4,
            bytes_per_second: None,
            request_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            full: WhenFull::default(),
        }
    }
}

/// How this node fetches.
#[derive(Clone, Debug)]
pub struct FetchConfig {
    /// Holders that are asked at the same time; each takes 128 KiB beside what its connection buffers.
    pub holders_max: usize,
    /// Bytes of a range that one holder is asked for: a multiple of a group, and less towards the end. Larger ones cost
    /// more when they are lost, smaller ones leave gaps between answers.
    pub range_bytes: u64,
    /// Requests ahead on one stream, so that a holder never waits for the next.
    pub ahead: usize,
    /// How long a stream may bring less than a group, while something is asked for, before it is dropped.
    pub stall: Duration,
    /// How long a range may be under way before another holder that has time takes over a part of what is left of it.
    pub take_over_after: Duration,
    /// How long a range may be under way before another holder that has time is asked for what is left of it as well.
    pub twin_after: Duration,
    /// While more holders are known than are asked, the slowest has to leave its place to another so often.
    pub replace_after: Duration,
    /// A fetch that brings less than 1 MiB from all holders in this time is given up.
    pub progress_timeout: Duration,
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
            take_over_after: Duration::from_millis(500),
            twin_after: Duration::from_secs(5),
            replace_after: Duration::from_secs(30),
            progress_timeout: Duration::from_secs(300),
            open_timeout: Duration::from_secs(20),
            tries_max: 4,
            retry_after: Duration::from_secs(1),
            artifact_bytes_max: 1 << 40,
        }
    }
}
