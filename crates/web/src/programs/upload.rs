//! The body of a request until its program begins. Few programs run at once, so none is made to wait for its client: what is short
//! waits in memory, what is longer in a file. Only of what says that it is longer than [`WHOLE_MAX`] the rest streams, no slower than a client may be at all.

use super::spool::{Refused, Room, Spool};
use super::{ProgramError, ProgramLimits};
use crate::pace::{Late, Pace};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use futures_util::stream;
use std::io;

/// Bytes of a body that wait in memory.
const IN_MEMORY_MAX: usize = 64 << 10;
/// Bytes of a body that are waited for.
const WHOLE_MAX: u64 = 64 << 20;

/// A body whose length is known.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) body: Body,
    /// None: there is none.
    pub(super) length: Option<u64>,
}

/// What the body says of its length.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Waits for a body. Programs are told its length before the first byte, so one that does not say its own is waited for in full.
pub(super) async fn collect(
    headers: &HeaderMap,
    body: Body,
    limits: &ProgramLimits,
    room: &Room,
) -> Result<Upload, ProgramError> {
    collect_up_to(headers, body, limits, room, WHOLE_MAX).await
}

async fn collect_up_to(
    headers: &HeaderMap,
    mut body: Body,
    limits: &ProgramLimits,
    room: &Room,
    whole: u64,
) -> Result<Upload, ProgramError> {
    let said = content_length(headers);
    if said.is_none() && !headers.contains_key(header::TRANSFER_ENCODING) {
        return Ok(Upload { body: Body::empty(), length: None });
    }
    if said.is_some_and(|length| length > limits.body) {
        return Err(ProgramError::Large(limits.body));
    }
    let streams = said.is_some_and(|length| length > whole);
    let (mut waiting, mut spool, mut length) = (Vec::new(), Spool::new(room.clone()), 0);
    let mut pace = Pace::new(limits.patience);
    loop {
        let bytes = next(&mut body, &mut pace).await?;
        let end = bytes.is_none();
        let bytes = bytes.unwrap_or_default();
        length += bytes.len() as u64;
        if length > limits.body {
            return Err(ProgramError::Large(limits.body));
        }
        waiting.extend_from_slice(&bytes);
        if waiting.len() >= IN_MEMORY_MAX {
            spool.put(std::mem::take(&mut waiting).into()).await.map_err(|refused| match refused {
                Refused::Full(_) => ProgramError::Busy,
                Refused::Broken(error) => ProgramError::Spool(error),
            })?;
        }
        if end && said.is_some_and(|said| said != length) {
            return Err(ProgramError::Body("it is not as long as it says".into()));
        }
        if end && spool.size() == 0 {
            return Ok(Upload { body: Body::from(waiting), length: Some(length) });
        }
        if end || streams && length >= whole {
            let rest = Rest { waiting: waiting.into(), spool, body: (!end).then_some((body, pace)) };
            return Ok(Upload { body: rest.into_body(), length: said.or(Some(length)) });
        }
    }
}

/// What follows what is in memory, in this order.
struct Rest {
    waiting: Bytes,
    spool: Spool,
    body: Option<(Body, Pace)>,
}

impl Rest {
    fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(Some(self), |rest| async {
            let mut rest = rest?;
            match rest.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(rest))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.spool.len() > 0 {
            return self.spool.take().await.map(Some);
        }
        if !self.waiting.is_empty() {
            return Ok(Some(std::mem::take(&mut self.waiting)));
        }
        match &mut self.body {
            Some((body, pace)) => next(body, pace).await.map_err(io::Error::other),
            None => Ok(None),
        }
    }
}

async fn next(body: &mut Body, pace: &mut Pace) -> Result<Option<Bytes>, ProgramError> {
    pace.next(body).await.map_err(|late| match late {
        Late::Broken(error) => ProgramError::Body(error.to_string()),
        Late::Slow => ProgramError::Slow,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::part;
    use axum::http::HeaderValue;
    use futures_util::StreamExt as _;
    use std::time::Duration;

    const LIMITS: ProgramLimits = ProgramLimits { running: 1, patience: Duration::from_secs(5), body: 1_000_000 };

    fn said(length: usize) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(length))])
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i % 251) as u8).collect()
    }

    /// A body in parts; `more` behind them.
    fn parts(bytes: &[u8], more: impl futures_util::Stream<Item = Bytes> + Send + 'static) -> Body {
        let parts: Vec<_> = bytes.chunks(10_000).map(Bytes::copy_from_slice).collect();
        Body::from_stream(stream::iter(parts).chain(more).map(Ok::<_, io::Error>))
    }

    async fn read(mut body: Body) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bytes) = part(&mut body).await.unwrap() {
            all.extend(bytes);
        }
        all
    }

    #[tokio::test]
    async fn bodies_come_out_as_they_came() {
        let room = Room::of(1 << 20);
        let chunked = HeaderMap::from_iter([(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))]);
        for len in [0, 1, 10_000, IN_MEMORY_MAX, IN_MEMORY_MAX + 1, 500_000] {
            for headers in [said(len), chunked.clone()] {
                let all = bytes(len);
                let upload = collect(&headers, parts(&all, stream::empty()), &LIMITS, &room).await.unwrap();
                assert_eq!(upload.length, Some(len as u64));
                assert!(read(upload.body).await == all, "{len}");
            }
        }
        let none = collect(&HeaderMap::new(), Body::empty(), &LIMITS, &room).await.unwrap();
        assert_eq!(none.length, None);
    }

    #[tokio::test]
    async fn what_is_very_long_streams_behind_its_beginning() {
        let (room, all) = (Room::of(1 << 20), bytes(300_000));
        let (send, receive) = tokio::sync::oneshot::channel::<Vec<u8>>();
        let rest = stream::once(async { Bytes::from(receive.await.unwrap()) });
        let body = parts(&all[..150_000], rest);
        // The beginning is enough for the program to begin.
        let upload = collect_up_to(&said(all.len()), body, &LIMITS, &room, 150_000).await.unwrap();
        send.send(all[150_000..].to_vec()).unwrap();
        assert!(read(upload.body).await == all);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_are_too_long_too_slow_or_too_many() {
        let room = Room::of(100 << 10);
        let judge = async |headers, body| collect(&headers, body, &LIMITS, &room).await.map(|upload| upload.body);
        let large = judge(said(1_000_001), Body::empty()).await;
        assert!(matches!(large, Err(ProgramError::Large(_))), "{large:?}");
        let slow = judge(said(20_000), parts(&bytes(10_000), stream::pending())).await;
        assert!(matches!(slow, Err(ProgramError::Slow)), "{slow:?}");
        let first = judge(said(90_000), parts(&bytes(90_000), stream::empty())).await.unwrap();
        let second = judge(said(90_000), parts(&bytes(90_000), stream::empty())).await;
        assert!(matches!(second, Err(ProgramError::Busy)), "{second:?}");
        drop(first);
        assert!(judge(said(90_000), parts(&bytes(90_000), stream::empty())).await.is_ok());
    }
}
