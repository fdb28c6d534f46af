//! A web server beside what else a command does.

use crate::failure::Failure;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use web::{Handler, Serving};

/// What to say where no thread is left to serve with.
pub const NO_THREADS: &str = "can't serve: the system gives no threads";

/// A web server that runs until it is closed.
#[derive(Debug)]
pub struct Server {
    closing: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Begins to serve.
    pub fn start<H: Handler>(serving: Serving<H>, listeners: Vec<TcpListener>) -> Self {
        let (closing, closed) = oneshot::channel::<()>();
        let task = tokio::spawn(web::serve(serving, listeners, async move { drop(closed.await) }));
        Server { closing, task }
    }

    /// Waits until it ends by itself, which it should not.
    pub async fn ended(&mut self) -> Failure {
        match (&mut self.task).await {
            Ok(Err(error)) => anyhow::Error::new(error).context(NO_THREADS).into(),
            _ => anyhow::anyhow!("the web server has ended").into(),
        }
    }

    /// Takes no more connections, and waits until those that are there have come to their ends, which has a limit of time.
    pub async fn close(self) {
        // It may have ended by itself.
        let _ = self.closing.send(());
        if !self.task.is_finished() {
            let _ = self.task.await;
        }
    }
}
