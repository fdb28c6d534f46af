//! Ctrl-C and SIGTERM: the first ends in order, the second at once.

use std::io;
use std::sync::OnceLock;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

static ASKED: OnceLock<watch::Sender<bool>> = OnceLock::new();

/// Begins to listen for signals. Once, on a tokio runtime.
pub fn listen() -> io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let asked = ASKED.get_or_init(|| watch::Sender::new(false));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked.send_replace(true) {
                // They are in groups of their own, which the terminal tells nothing.
                web::end_programs();
                std::process::exit(130);
            }
        }
    });
    Ok(())
}

/// Done once the user wants an end.
pub async fn stop() {
    let mut asked = ASKED.get_or_init(|| watch::Sender::new(false)).subscribe();
    let _ = asked.wait_for(|asked| *asked).await;
}

/// True once the user wants an end.
pub fn stopping() -> bool {
    ASKED.get().is_some_and(|asked| *asked.borrow())
}
