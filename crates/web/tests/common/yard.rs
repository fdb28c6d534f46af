//! A site with a bit of everything: files, compressed forms, a folder, programs, and writing where it is asked for.

use super::Reply;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use web::{Auth, Folder, FolderOptions, Guarded, ProgramLimits, Programs, Serving, Website};

/// The site, and where it answers.
pub struct Yard {
    pub dir: tempfile::TempDir,
    pub addr: SocketAddr,
}

/// What the one who may enter sends, where there is a door.
pub const PASSWORD: &str = "Authorization: Basic YWRhOnNlY3JldA==";

impl Yard {
    pub async fn new() -> Self {
        Self::open(None, false).await
    }

    /// Takes files up to 1,000 bytes.
    pub async fn writable() -> Self {
        Self::open(Some(1_000), false).await
    }

    /// Lets in only `ada:secret`.
    pub async fn closed() -> Self {
        Self::open(None, true).await
    }

    async fn open(write: Option<u64>, closed: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let www = dir.path().join("www");
        std::fs::create_dir_all(www.join("sub")).unwrap();
        let put = |name: &str, text: &str| std::fs::write(www.join(name), text).unwrap();
        put("a.txt", "hello");
        put("style.css", "identity");
        put("style.css.gz", "gz form");
        put("sub/b", "b");
        put("env.sh", "printf 'Content-Type: text/plain\\n\\n'; cat > ../body; env");
        put("status.sh", "printf 'Status: %s\\nContent-Type: text/plain\\n\\n' \"$QUERY_STRING\"; echo so it is");
        put("empty.sh", "printf 'Status: 204 No Content\\n\\n'");
        let mut programs = Programs::new(&www, ProgramLimits::default()).unwrap();
        programs.cgi("sh", Some("/bin/sh".into()));
        let folder = Folder::new(&www, FolderOptions { write, ..FolderOptions::default() }).unwrap();
        let auth = closed.then(|| {
            let file = dir.path().join("users");
            std::fs::write(&file, web::password_line("ada", "secret").unwrap()).unwrap();
            Auth::open(&file).unwrap()
        });
        let handler = Guarded { handler: Website { folder, programs }, auth };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(web::serve(Serving::new(handler), vec![listener], std::future::pending()));
        Yard { dir, addr }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("www").join(name)
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        super::ask(self.addr, method, path, headers).await
    }

    pub async fn get(&self, path: &str, headers: &[&str]) -> Reply {
        self.ask("GET", path, headers).await
    }

    pub async fn put(&self, path: &str, headers: &[&str], body: &str) -> Reply {
        let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
        let head = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}");
        self.raw(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await
    }

    /// Sends anything; gives the first answer.
    pub async fn raw(&self, request: &str) -> Reply {
        super::raw(self.addr, request.as_bytes()).await
    }

    /// Sends anything on one connection, and gives all that comes until it is closed.
    pub async fn talk(&self, requests: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(requests.as_ref()).await.unwrap();
        let mut raw = Vec::new();
        // A connection that is cut ends in an error, too.
        let _ = stream.read_to_end(&mut raw).await;
        String::from_utf8_lossy(&raw).into_owned()
    }

    /// Sends anything; gives the statuses of all answers until the connection is closed.
    pub async fn statuses(&self, requests: impl AsRef<[u8]>) -> Vec<String> {
        let text = self.talk(requests).await;
        text.split("HTTP/1.").skip(1).map(|answer| answer[2..5].to_owned()).collect()
    }
}
