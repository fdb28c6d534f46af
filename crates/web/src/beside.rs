//! A site beside something else under one address.

use crate::serve::Handler;
use crate::site::Site;
use axum::extract::Request;
use axum::response::Response;
use std::net::SocketAddr;
use std::sync::Arc;

/// Marks a request to whoever has the first page, if something is shared beside it: under `/f/`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares;

/// The site answers for its own paths, if there is one, and the other handler for all others.
#[derive(Debug)]
pub struct WithSite<H> {
    /// The site.
    pub site: Option<Arc<Site>>,
    /// The other one.
    pub handler: H,
}

impl<H: Handler> Handler for WithSite<H> {
    async fn answer(&self, mut request: Request, from: SocketAddr) -> Response {
        match &self.site {
            Some(site) if Site::has(request.uri().path()) => Box::pin(site.answer(request, from)).await,
            site => {
                if request.uri().path() == "/" && site.as_ref().is_some_and(|site| !site.is_empty()) {
                    request.extensions_mut().insert(Shares);
                }
                self.handler.answer(request, from).await
            }
        }
    }
}
