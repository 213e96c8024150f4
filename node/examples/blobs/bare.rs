//! A file over streams, with nothing but reading and writing at both ends.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p_stream::IncomingStreams;
use tokio::task::JoinSet;

use crate::Failed;
use crate::network::{BARE, Known};

/// Bytes that are read and written at once, as by the protocol that is compared.
const CHUNK_BYTES: usize = 128 << 10;

/// Copies the file, a part from each holder, and returns the seconds.
pub async fn copy(known: &Arc<Known>, to: &Path, size: u64) -> Result<f64, Failed> {
    let start = Instant::now();
    File::create(to)?.set_len(size)?;
    let mut parts = JoinSet::new();
    let share = size.div_ceil(known.holders.len() as u64);
    for (at, holder) in (0..).zip(&known.holders) {
        let (mut control, holder, to) = (known.control.clone(), *holder, to.to_owned());
        let (begin, end) = (at * share, size.min((at + 1) * share));
        parts.spawn(async move {
            let stream = control.open_stream(holder, BARE).await.map_err(|error| error.to_string())?;
            receive(stream, &to, begin, end).await
        });
    }
    while let Some(part) = parts.join_next().await {
        part??;
    }
    Ok(start.elapsed().as_secs_f64())
}

async fn receive(mut stream: libp2p::Stream, to: &Path, begin: u64, end: u64) -> Result<(), Failed> {
    stream.write_all(&[begin.to_le_bytes(), end.to_le_bytes()].concat()).await?;
    stream.flush().await?;
    let mut file = File::options().write(true).open(to)?;
    file.seek(SeekFrom::Start(begin))?;
    let (mut left, mut chunk) = (end - begin, vec![0; CHUNK_BYTES]);
    while left > 0 {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Err("the holder ended too early".into());
        }
        file.write_all(&chunk[..read])?;
        left -= read as u64;
    }
    Ok(())
}

/// Answers bare requests.
pub async fn serve(mut incoming: IncomingStreams, file: PathBuf) {
    while let Some((_, stream)) = incoming.next().await {
        let file = file.clone();
        tokio::spawn(async move {
            if let Err(error) = send(stream, &file).await {
                eprintln!("sending: {error}");
            }
        });
    }
}

async fn send(mut stream: libp2p::Stream, file: &Path) -> Result<(), Failed> {
    let (mut begin, mut end) = ([0; 8], [0; 8]);
    stream.read_exact(&mut begin).await?;
    stream.read_exact(&mut end).await?;
    let (begin, end) = (u64::from_le_bytes(begin), u64::from_le_bytes(end));
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(begin))?;
    let mut file = file.take(end - begin);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        stream.write_all(&chunk[..read]).await?;
    }
    stream.close().await?;
    Ok(())
}
