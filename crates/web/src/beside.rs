//! A site beside something else under one address.

use crate::serve::Handler;
use crate::site::Site;
use axum::extract::Request;
use axum::response::Response;
use std::net::SocketAddr;
use std::sync::Arc;

/// The site answers for its own paths, if there is one, and the other handler for all others.
#[derive(Debug)]
pub struct WithSite<H> {
    /// The site.
    pub site: Option<Arc<Site>>,
    /// The other one.
    pub handler: H,
}

impl<H: Handler> Handler for WithSite<H> {
    async fn answer(&self, request: Request, from: SocketAddr) -> Response {
        match &self.site {
            Some(site) if Site::has(request.uri().path()) => Box::pin(site.answer(request, from)).await,
            _ => self.handler.answer(request, from).await,
        }
    }
}
