//! A website: a folder, and the programs in it.

use crate::answer;
use crate::folder::{Folder, Place};
use crate::programs::Programs;
use crate::say::printable;
use crate::serve::Handler;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri, request};
use axum::response::Response;
use std::net::SocketAddr;

/// Programs may send each other on so often.
const ELSEWHERE_MAX: usize = 8;

/// What a web server serves.
#[derive(Debug)]
pub struct Website {
    /// The files.
    pub folder: Folder,
    /// The files that are programs.
    pub programs: Programs,
}

impl Handler for Website {
    async fn answer(&self, request: Request, from: SocketAddr) -> Response {
        let (mut parts, mut body) = request.into_parts();
        for _ in 0..ELSEWHERE_MAX {
            match self.once(&parts, std::mem::take(&mut body), from).await {
                Ok(response) => return response,
                Err(path) => match path.parse() {
                    Ok(uri) => elsewhere(&mut parts, uri),
                    Err(_) => return fails(&path, "a program sends on to what is no path"),
                },
            }
        }
        fails(parts.uri.path(), "programs send each other on without an end")
    }
}

impl Website {
    /// Answers, or says at which path the answer lies.
    async fn once(&self, parts: &request::Parts, body: Body, from: SocketAddr) -> Result<Response, String> {
        match Place::parse(parts.uri.path()).and_then(|place| self.programs.find(self.folder.root(), &place)) {
            // What is rare has memory of its own, which who asks for a file needs none of.
            Some(script) => Box::pin(self.programs.run(script, parts, body, from)).await,
            // What was no program a moment ago, or could not be looked at, is not shown as a file either.
            None if self.programs.would_run(parts.uri.path()) => Ok(answer::nothing()),
            None => Ok(self.folder.act(parts, body).await),
        }
    }
}

fn fails(path: &str, why: &str) -> Response {
    tracing::error!("{}: {why}", printable(path.as_bytes()));
    answer::refuse(StatusCode::BAD_GATEWAY, "the program behind this page has failed")
}

/// A request for the same client and headers, without a body (RFC 3875, section 6.2.2).
fn elsewhere(parts: &mut request::Parts, uri: Uri) {
    if parts.method != Method::HEAD {
        parts.method = Method::GET;
    }
    for name in
        [axum::http::header::CONTENT_LENGTH, axum::http::header::CONTENT_TYPE, axum::http::header::TRANSFER_ENCODING]
    {
        parts.headers.remove(name);
    }
    parts.uri = uri;
}
