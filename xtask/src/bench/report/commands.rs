//! How everybody was started, for who wants to do it by hand.

/// A section of the page. The flags are those of `clients`.
pub(super) const SECTION: &str = "
## Commands

```sh
cargo xtask bench setup && cargo xtask bench --json it.json && cargo xtask bench report it.json

shoal --json --data-dir STATE seed TORRENT DATA --listen 0.0.0.0:PORT
shoal --json --data-dir STATE get TORRENT -o DIR --seed --listen 0.0.0.0:PORT
python xtask/src/bench/lt_node.py IP PORT            # tuned: hashing_threads=2 aio_threads=2 max_out_request_queue=2000
                                                     # max_queued_disk_bytes=268435456 send_buffer_watermark=4194304
                                                     # send_buffer_low_watermark=1048576
rqbit [-s] --disable-dht --disable-lsd --disable-upnp-port-forward --listen-ip 0.0.0.0 --ipv4-only server start --disable-persistence DIR
aria2c --no-conf --enable-rpc --enable-dht=false --bt-enable-lpd=false --enable-peer-exchange=false --bt-min-crypto-level=plain
       --file-allocation=falloc --seed-ratio=0.0 --check-integrity=true --bt-max-peers=100
shoal torrent create --format v1 --piece-length 1048576 --threads N -o OUT DATA
mktorrent -d -l 20 -t N -a URL -o OUT DATA
```

`many` starts ours twice with the same folders and the same state, libtorrent with resume data of every torrent; rqbit only once, since with its
persistence on it needs minutes to take them. `idle` raises everybody's limit of connections to 3,000. `verify` of libtorrent is its check of data that it is told to seed; mktorrent,
which cannot verify, is there as the yardstick of reading and hashing.
";

/// The same for the web; what is written into the configuration of nginx and php-fpm is in `web`.
pub(super) const SECTION_WEB: &str = "
## Commands

```sh
cargo xtask bench setup && cargo xtask bench web-small web-large web-php web-slow get-one get-four --json web.json && cargo xtask bench report web.json

shoal --quiet --data-dir STATE serve ROOT --threads 1 --listen ADDR:PORT [--fastcgi .php=SOCKET] [--share]
nginx -c CONFIG                # daemon off; master_process off; worker_processes 1; access_log off
wrk -t1 --latency -c 64 -d 5s URL
shoal --quiet --data-dir STATE get URL-OR-METALINK-OR-MANIFEST -o DIR
curl -sSf -o FILE URL
aria2c --no-conf -q --split=4 --max-connection-per-server=1 --min-split-size=1M -d DIR METALINK
```
";
