//! The web server beside nginx: the same files, and the same PHP behind both; programs in the languages that people write them in.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::place::Place;
use interop::process::{Process, run, until};
use interop::shoal::Running;
use libtest_mimic::Trial;

use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("web/files-like-nginx", files_like_nginx),
        trial("web/php-like-nginx", php_like_nginx),
        trial("web/programs-in-five-languages", five_languages),
        trial("web/wget-mirrors-a-folder", wget),
    ]
}

const UP: Duration = Duration::from_secs(20);

/// nginx with the same folder and the same PHP.
fn nginx(place: &Place, www: &Path, address: &str) -> Result<Process> {
    let folder = place.folder.display();
    let config = place.folder.join("nginx.conf");
    let www = www.display();
    let text = format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;\n\
         events {{}}\n\
         http {{ include /etc/nginx/mime.types; access_log off; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;\n\
         fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5; client_max_body_size 64m;\n\
         server {{ listen {address}; root {www}; autoindex off; index index.html index.php;\n\
         location ~ ^(.+\\.php)(/.*)?$ {{ fastcgi_split_path_info ^(.+\\.php)(/.*)$; include /etc/nginx/fastcgi_params;\n\
         fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; fastcgi_param PATH_INFO $fastcgi_path_info if_not_empty;\n\
         fastcgi_pass unix:{folder}/php.sock; }}\n\
         location / {{ try_files $uri $uri/ @program; }}\n\
         location @program {{ if (!-f $document_root$uri.php) {{ return 404; }} include /etc/nginx/fastcgi_params;\n\
         fastcgi_param SCRIPT_FILENAME $document_root$uri.php; fastcgi_pass unix:{folder}/php.sock; }} }} }}\n"
    );
    fs::write(&config, text)?;
    let config = config.display().to_string();
    let process =
        Process::start("nginx", &place.folder, Command::new("nginx").args(["-c", &config, "-p", &folder.to_string()]))?;
    up(address)?;
    Ok(process)
}

/// php-fpm on a socket in this place.
fn php_fpm(place: &Place) -> Result<Process> {
    let folder = place.folder.display();
    let config = place.folder.join("fpm.conf");
    fs::write(
        &config,
        format!(
            "[global]\nerror_log = {folder}/fpm.log\n[www]\nuser = root\ngroup = root\nlisten = {folder}/php.sock\n\
             pm = static\npm.max_children = 3\ncatch_workers_output = yes\n"
        ),
    )?;
    let program = fs::read_dir("/usr/sbin")?
        .filter_map(|e| Some(e.ok()?.path()))
        .find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("php-fpm")))
        .context("php-fpm is not installed")?;
    let mut command = Command::new(program);
    command.args(["-F", "-R", "-n", "-y", &config.display().to_string()]);
    let process = Process::start("php-fpm", &place.folder, &mut command)?;
    let socket = place.folder.join("php.sock");
    until(UP, "php-fpm to listen", || Ok(std::os::unix::net::UnixStream::connect(&socket).is_ok()))?;
    Ok(process)
}

pub(crate) fn up(address: &str) -> Result<()> {
    until(UP, "a web server to listen", || Ok(std::net::TcpStream::connect(address).is_ok()))
}

pub(crate) fn serve(place: &Place, www: &Path, address: &str, more: &[&str]) -> Result<Running> {
    let www = www.display().to_string();
    Running::start(place, "serve", &[&["serve", &www, "--listen", address], more].concat())
}

/// An answer as curl saw it.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) status: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }
}

pub(crate) fn curl(address: &str, path: &str, more: &[&str]) -> Result<Seen> {
    let url = format!("http://{address}{path}");
    let out = Command::new("curl")
        .args(["-sS", "-i", "--path-as-is", "--max-time", "60", "-H", "Host: site.example"])
        .args(more)
        .arg(&url)
        .output()?;
    ensure!(out.status.success(), "curl {more:?} {url}: {}", String::from_utf8_lossy(&out.stderr));
    let mut raw = &out.stdout[..];
    loop {
        let end = raw.windows(4).position(|w| w == b"\r\n\r\n").with_context(|| format!("no head from {url}"))?;
        let head = String::from_utf8_lossy(&raw[..end]).into_owned();
        raw = &raw[end + 4..];
        let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if status == "100" {
            continue;
        }
        let pair = |line: &str| line.split_once(':').map(|(n, v)| (n.to_lowercase(), v.trim().to_owned()));
        return Ok(Seen { status, headers: head.lines().skip(1).filter_map(pair).collect(), body: raw.to_vec() });
    }
}

// RFC 9110 13.1.3: If-Modified-Since is evaluated
// RFC 9110 13.1.4: If-Unmodified-Since is evaluated
// RFC 9110 14.2: a range that can be had answers 206
// RFC 9110 14.2: ranges that can't be had answer 416
// RFC 9110 15.4.2: 301 says where to
fn files_like_nginx() -> Result<()> {
    let place = Place::new("web/files")?;
    let www = place.sub("www")?;
    fs::create_dir_all(www.join("site/deep"))?;
    fs::write(www.join("a.txt"), "hello, world\n")?;
    fs::write(www.join("empty.css"), "")?;
    fs::write(www.join("big.bin"), (0..2_000_000u32).map(|i| (i % 251) as u8).collect::<Vec<_>>())?;
    fs::write(www.join("site/index.html"), "<p>index")?;
    fs::write(www.join("site/deep/\u{e9} x.svg"), "<svg/>")?;
    let (theirs, ours) = (format!("{}:8081", place.address(1)), format!("{}:8080", place.address(2)));
    let _nginx = nginx(&place, &www, &theirs)?;
    let _serve = serve(&place, &www, &ours, &["--no-listing"])?;
    let stamp = curl(&ours, "/a.txt", &[])?.header("last-modified").to_owned();
    let since = format!("If-Modified-Since: {stamp}");
    let unmodified = "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:01 GMT";
    let if_range = format!("If-Range: {stamp}");
    let cases: &[(&str, &[&str])] = &[
        ("/a.txt", &[]),
        ("/a.txt", &["-I"]),
        ("/big.bin", &[]),
        ("/empty.css", &[]),
        ("/site/", &[]),
        ("/site", &[]),
        ("/site?x=1", &[]),
        ("/site/deep/%C3%A9%20x.svg", &[]),
        ("//site///deep/%C3%A9%20x.svg", &[]),
        ("/site/./deep/../index.html", &[]),
        ("/missing", &[]),
        ("/a.txt/", &[]),
        ("/site/deep/", &[]),
        ("/../../etc/passwd", &[]),
        ("/%2e%2e/%2e%2e/etc/passwd", &[]),
        ("/a.txt", &["-H", &since]),
        ("/a.txt", &["-H", "If-Modified-Since: Thu, 01 Jan 1970 00:00:01 GMT"]),
        ("/a.txt", &["-H", unmodified]),
        ("/a.txt", &["-H", "If-None-Match: \"x\""]),
        ("/a.txt", &["-H", "If-None-Match: *"]),
        ("/a.txt", &["-H", "If-Match: \"x\""]),
        ("/a.txt", &["-r", "0-4"]),
        ("/a.txt", &["-r", "-4"]),
        ("/a.txt", &["-r", "5-"]),
        ("/a.txt", &["-r", "5-99999999999"]),
        ("/a.txt", &["-r", "100-"]),
        ("/big.bin", &["-r", "1000000-1999999"]),
        ("/a.txt", &["-r", "0-4", "-H", &if_range]),
        ("/a.txt", &["-r", "0-4", "-H", "If-Range: \"x\""]),
        ("/a.txt", &["-X", "POST", "-d", "x"]),
        ("/a.txt", &["-X", "DELETE"]),
    ];
    for (path, more) in cases {
        let (a, b) = (curl(&theirs, path, more)?, curl(&ours, path, more)?);
        // nginx walks back over `..` where that stays inside; we refuse it: no client sends it that means well.
        if path.contains("..") {
            ensure!(matches!(&b.status[..], "400" | "404"), "{path}: {b:?}");
            continue;
        }
        ensure!(a.status == b.status, "{path} {more:?}: nginx {} and ours {}", a.status, b.status);
        if a.status.starts_with('2') {
            ensure!(a.body == b.body, "{path} {more:?}: the bodies differ");
            for name in ["content-length", "content-range", "last-modified"] {
                ensure!(
                    a.header(name) == b.header(name),
                    "{path} {more:?}: {name}: {:?} and {:?}",
                    a.header(name),
                    b.header(name)
                );
            }
            let kind = |seen: &Seen| seen.header("content-type").split(';').next().unwrap_or_default().to_owned();
            ensure!(kind(&a) == kind(&b), "{path}: {} and {}", kind(&a), kind(&b));
        }
        if a.status == "301" {
            ensure!(a.header("location").ends_with(b.header("location")), "{path}: {a:?} {b:?}");
        }
    }
    // Several ranges: the boundary differs, the parts don't.
    let several = ["-r", "0-4,7-11"];
    let (a, b) = (curl(&theirs, "/a.txt", &several)?, curl(&ours, "/a.txt", &several)?);
    let parts = |seen: &Seen| -> Result<Vec<String>> {
        let boundary = seen.header("content-type").split_once("boundary=").context("no boundary")?.1.to_owned();
        let text = String::from_utf8_lossy(&seen.body).into_owned();
        Ok(text
            .split(&format!("--{boundary}"))
            .map(|part| part.trim().replace("Content-Type: text/plain; charset=utf-8", "Content-Type: text/plain"))
            .collect())
    };
    ensure!(parts(&a)? == parts(&b)? && a.status == "206", "{a:?} {b:?}");
    place.succeeded();
    Ok(())
}

const PHP: &[(&str, &str)] = &[
    (
        "say.php",
        "<?php header('Content-Type: text/plain'); $f = []; foreach ($_FILES as $n => $v) { $f[$n] = [$v['name'], $v['size'], md5_file($v['tmp_name'])]; }\n\
         $s = []; foreach (['REQUEST_METHOD','SCRIPT_NAME','PATH_INFO','QUERY_STRING','REQUEST_URI','DOCUMENT_URI','DOCUMENT_ROOT','SCRIPT_FILENAME','CONTENT_TYPE',\n\
         'CONTENT_LENGTH','SERVER_PROTOCOL','GATEWAY_INTERFACE','REQUEST_SCHEME','REDIRECT_STATUS','HTTP_USER_AGENT','HTTP_X_LIST','HTTP_COOKIE','HTTP_HOST','HTTP_AUTHORIZATION','PHP_AUTH_USER','PHP_SELF'] as $k) { $s[$k] = $_SERVER[$k] ?? null; }\n\
         echo json_encode(['get' => $_GET, 'post' => $_POST, 'cookie' => $_COOKIE, 'files' => $f, 'input' => md5(file_get_contents('php://input')), 'server' => $s], JSON_PRETTY_PRINT);",
    ),
    ("big.php", "<?php header('Content-Type: text/plain'); for ($i = 0; $i < 100000; $i++) { echo \"line $i\\n\"; }"),
    ("away.php", "<?php header('Location: /say.php?from=away');"),
    (
        "cookies.php",
        "<?php setcookie('a', '1'); setcookie('b', '2', 0, '/', '', true, true); header('X-Mine: yes'); echo 'ok';",
    ),
    ("missing.php", "<?php http_response_code(404); echo 'not here';"),
    ("fatal.php", "<?php echo str_repeat('x', 10); nobody();"),
    ("empty.php", "<?php http_response_code(204);"),
    ("sub/index.php", "<?php echo 'index of ', $_SERVER['SCRIPT_NAME'];"),
    (
        "session.php",
        "<?php ini_set('session.save_path', sys_get_temp_dir()); session_id('fixed'); session_start(); $_SESSION['n'] = 1; echo session_id(), $_SESSION['n'];",
    ),
];

fn php_like_nginx() -> Result<()> {
    let place = Place::new("web/php")?;
    let www = place.sub("www")?;
    for (name, text) in PHP {
        let path = www.join(name);
        fs::create_dir_all(path.parent().context("a parent")?)?;
        fs::write(path, text)?;
    }
    fs::write(place.folder.join("upload.bin"), (0..300_000u32).map(|i| (i % 253) as u8).collect::<Vec<_>>())?;
    let upload = format!("file=@{}/upload.bin", place.folder.display());
    let data = format!("@{}/upload.bin", place.folder.display());
    let _fpm = php_fpm(&place)?;
    let (theirs, ours) = (format!("{}:8081", place.address(1)), format!("{}:8080", place.address(2)));
    let _nginx = nginx(&place, &www, &theirs)?;
    let socket = format!("php={}/php.sock", place.folder.display());
    let _serve = serve(&place, &www, &ours, &["--fastcgi", &socket])?;
    let cases: &[(&str, &[&str])] = &[
        ("/say.php", &[]),
        ("/say.php?code=4021&list[]=1&list[]=2&x=%20%26+y", &["-A", "a browser", "-H", "X-List: 1", "-b", "a=1; b=2"]),
        ("/say.php/more/info?x=1", &[]),
        ("/say?code=4021", &[]),
        ("/say", &["-d", "name=Ada"]),
        ("/say.php", &["-d", "name=Ada&text=%C3%A9+1"]),
        ("/say.php", &["-F", "name=Ada", "-F", &upload]),
        ("/say.php", &["-X", "PUT", "--data-binary", &data, "-H", "Content-Type: application/octet-stream"]),
        ("/say.php", &["-H", "Transfer-Encoding: chunked", "-d", "a=chunked"]),
        ("/say.php", &["-u", "ada:secret"]),
        ("/say.php", &["-I"]),
        ("/say.php", &["-X", "DELETE"]),
        ("/big.php", &[]),
        ("/away.php", &[]),
        ("/cookies.php", &[]),
        ("/missing.php", &[]),
        ("/fatal.php", &[]),
        ("/empty.php", &[]),
        ("/sub/", &[]),
        ("/session.php", &[]),
        ("/nowhere.php", &[]),
    ];
    for (path, more) in cases {
        let (a, b) = (curl(&theirs, path, more)?, curl(&ours, path, more)?);
        ensure!(a.status == b.status, "{path} {more:?}: nginx {} and ours {}", a.status, b.status);
        if *path == "/nowhere.php" {
            // Neither shows a page of PHP; the words of an error are each server's own.
            continue;
        }
        let (x, y) = (without_boundary(&a.body), without_boundary(&b.body));
        ensure!(x == y, "{path} {more:?}:\nnginx: {:.3000}\nours: {:.3000}", x, y);
        // What the servers say of themselves and of the connection is their own.
        let own = ["server", "date", "connection", "transfer-encoding", "content-length", "keep-alive"];
        let rest = |seen: &Seen| {
            let mut all: Vec<_> = seen.headers.iter().filter(|(n, _)| !own.contains(&n.as_str())).cloned().collect();
            all.sort();
            all
        };
        ensure!(rest(&a) == rest(&b), "{path} {more:?}: {:?} and {:?}", rest(&a), rest(&b));
    }
    place.succeeded();
    Ok(())
}

/// curl draws the boundary of a form anew each time.
fn without_boundary(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.split_once("boundary=") {
        Some((before, after)) => {
            format!("{before}boundary={}", after.trim_start_matches(|c: char| c == '-' || c.is_ascii_hexdigit()))
        }
        None => text.into_owned(),
    }
}

const LANGUAGES: &[(&str, &str)] = &[
    (
        "p.php",
        "<?php header('Content-Type: text/plain'); echo $_SERVER['REQUEST_METHOD'], ' ', $_GET['code'] ?? '', ' ', $_POST['name'] ?? '', \"\\n\";",
    ),
    (
        "p.py",
        "import os, sys, urllib.parse\nq = urllib.parse.parse_qs(os.environ['QUERY_STRING'])\nn = int(os.environ.get('CONTENT_LENGTH') or 0)\n\
         f = urllib.parse.parse_qs(sys.stdin.buffer.read(n).decode())\nprint('Content-Type: text/plain\\n')\n\
         print(os.environ['REQUEST_METHOD'], q.get('code', [''])[0], f.get('name', [''])[0])\n",
    ),
    (
        "p.pl",
        "#!/usr/bin/perl\nmy ($c) = $ENV{QUERY_STRING} =~ /code=(\\d+)/; my $b = ''; read(STDIN, $b, $ENV{CONTENT_LENGTH} || 0); my ($n) = $b =~ /name=(\\w+)/;\n\
         print \"Content-Type: text/plain\\r\\n\\r\\n$ENV{REQUEST_METHOD} \", $c // '', ' ', $n // '', \"\\n\";\n",
    ),
    (
        "p.sh",
        "#!/bin/sh\nc=$(echo \"$QUERY_STRING\" | sed -n 's/.*code=\\([0-9]*\\).*/\\1/p')\nn=$(sed -n 's/.*name=\\([a-zA-Z]*\\).*/\\1/p')\n\
         printf 'Content-Type: text/plain\\n\\n%s %s %s\\n' \"$REQUEST_METHOD\" \"$c\" \"$n\"\n",
    ),
];

const C: &str = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint main(void) {\n\
    char body[1000] = \"\"; const char *len = getenv(\"CONTENT_LENGTH\"); size_t n = len ? (size_t)atoi(len) : 0;\n\
    n = fread(body, 1, n < 999 ? n : 999, stdin); body[n] = 0;\n\
    const char *q = getenv(\"QUERY_STRING\"), *c = strstr(q, \"code=\"), *m = strstr(body, \"name=\");\n\
    printf(\"Content-Type: text/plain\\n\\n%s %.*s %s\\n\", getenv(\"REQUEST_METHOD\"), c ? (int)strcspn(c + 5, \"&\") : 0, c ? c + 5 : \"\", m ? m + 5 : \"\");\n\
    return 0; }\n";

fn five_languages() -> Result<()> {
    let place = Place::new("web/languages")?;
    let www = place.sub("www")?;
    for (name, text) in LANGUAGES {
        fs::write(www.join(name), text)?;
        fs::set_permissions(www.join(name), fs::Permissions::from_mode(0o755))?;
    }
    let source = place.folder.join("p.c");
    fs::write(&source, C)?;
    run(Command::new("cc").arg("-o").arg(www.join("p.cgi")).arg(&source))?;
    let address = format!("{}:8080", place.address(1));
    let flags = ["--cgi", "php=php-cgi", "--cgi", "py=python3", "--cgi", "pl=", "--cgi", "sh=", "--cgi", "cgi="];
    let _serve = serve(&place, &www, &address, &flags)?;
    for name in ["p.php", "p.py", "p.pl", "p.sh", "p.cgi"] {
        let page = curl(&address, &format!("/{name}?code=4021"), &[])?;
        ensure!(page.body == b"GET 4021 \n", "{name}: {page:?}");
        ensure!(page.header("content-type").starts_with("text/plain"), "{name}: {page:?}");
        let form = curl(&address, &format!("/{name}?code=1"), &["-d", "name=Ada"])?;
        ensure!(form.body == b"POST 1 Ada\n", "{name}: {form:?}");
    }
    place.succeeded();
    Ok(())
}

fn wget() -> Result<()> {
    let place = Place::new("web/wget")?;
    let www = place.sub("www")?;
    for name in ["a.txt", "x y/b & c.txt", "x y/\u{e9}/d.bin"] {
        let path = www.join(name);
        fs::create_dir_all(path.parent().context("a parent")?)?;
        fs::write(path, format!("content of {name}"))?;
    }
    let address = format!("{}:8080", place.address(1));
    let _serve = serve(&place, &www, &address, &[])?;
    let copy = place.sub("copy")?;
    let url = format!("http://{address}/");
    run(Command::new("wget").args(["-q", "-r", "-np", "-nH", "-l", "9", "-P"]).arg(&copy).arg(&url))?;
    // Each folder and its listing once, in one order.
    let ignored = ["-x", ".shoal", "-x", "index.html"];
    run(Command::new("diff").arg("-r").args(ignored).arg(&www).arg(&copy))?;
    ensure!(copy.join("index.html").is_file() && copy.join("x y/index.html").is_file(), "no listings");
    place.succeeded();
    Ok(())
}
