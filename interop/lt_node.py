"""libtorrent as a process that is driven by JSON lines on standard input and answers each with one on standard output.

Arguments: ADDRESS PORT [setting=value ...]. With one argument `offline` there is no session: only files are read and made.
"""
import json
import os
import sys

import libtorrent as lt

FORMATS = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}


def say(**answer):
    print(json.dumps(answer), flush=True)


def session(address, port, settings):
    options = {
        "listen_interfaces": f"{address}:{port}", "outgoing_interfaces": address, "alert_mask": lt.alert.category_t.error_notification,
        "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "enable_incoming_utp": False, "enable_outgoing_utp": False, "ssrf_mitigation": False,
        "allow_multiple_connections_per_ip": True, "min_reconnect_time": 1, "validate_https_trackers": False,
    }
    for setting in settings:
        key, value = setting.split("=", 1)
        options[key] = value == "true" if value in ("true", "false") else int(value)
    return lt.session(options)


def add(ses, torrent=None, magnet=None, folder=None, upload_limit=0):
    p = lt.load_torrent_file(torrent) if torrent else lt.parse_magnet_uri(magnet)
    p.save_path = folder
    p.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    handle = ses.add_torrent(p)
    if upload_limit:  # of the torrent: limits of the session don't hold for peers in the local network
        handle.set_upload_limit(upload_limit)
    return handle


def status(handle):
    s = handle.status()
    return {"complete": s.is_seeding, "done": s.total_wanted_done, "state": str(s.state), "peers": s.num_peers,
            "uploaded": s.total_payload_upload, "error": s.errc.message() if s.errc.value() else None}


def show(torrent):
    p = lt.load_torrent_file(torrent)
    ti, files = p.ti, p.ti.files()
    pad = lt.file_flags_t.flag_pad_file
    hashes = ti.info_hashes()
    web = [s["url"] for s in ti.web_seeds()] if hasattr(ti, "web_seeds") else []
    return {
        "name": ti.name(), "piece_length": ti.piece_length(), "pieces": ti.num_pieces(), "private": ti.priv(),
        "info_hash_v1": str(hashes.v1) if hashes.has_v1() else None, "info_hash_v2": str(hashes.v2) if hashes.has_v2() else None,
        "magnet": lt.make_magnet_uri(p),
        "trackers": [t if isinstance(t, str) else t.url for t in (p.trackers or ti.trackers())], "web_seeds": list(p.url_seeds) or web,
        "files": [{"path": files.file_path(i), "bytes": files.file_size(i), "pad": bool(files.file_flags(i) & pad)}
                  for i in range(files.num_files())],
    }


def make(path, out, version, piece_length, trackers):
    files = lt.file_storage()
    lt.add_files(files, path)
    t = lt.create_torrent(files, piece_length, FORMATS[version])
    for tier, url in enumerate(trackers):
        t.add_tracker(url, tier)
    lt.set_piece_hashes(t, os.path.dirname(path))
    with open(out, "wb") as f:
        f.write(lt.bencode(t.generate()))


def torf_show(torrent):
    import torf
    t = torf.Torrent.read(torrent)
    return {"name": t.name, "info_hash_v1": t.infohash, "piece_length": t.piece_size, "pieces": t.pieces,
            "private": bool(t.private), "trackers": [str(u) for tier in t.trackers for u in tier], "web_seeds": [str(u) for u in t.webseeds],
            "files": [{"path": str(f), "bytes": f.size} for f in t.files]}


def torf_make(path, out, piece_length, trackers):
    import torf
    t = torf.Torrent(path=path, trackers=trackers, piece_size=piece_length)
    t.generate()
    t.write(out, overwrite=True)


def main():
    ses = None if sys.argv[1] == "offline" else session(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
    handle = None
    say(ready=True, version=lt.version)
    for line in sys.stdin:
        args = json.loads(line)
        command = args.pop("command")
        try:
            if command == "add":
                handle = add(ses, **args)
                say(ok=True)
            elif command == "peer":
                handle.connect_peer((args["address"], args["port"]))
                say(ok=True)
            elif command == "status":
                say(ok=True, **status(handle))
            elif command == "errors":
                say(ok=True, errors=[a.message() for a in ses.pop_alerts()])
            elif command in ("show", "make", "torf_show", "torf_make"):
                say(ok=True, **(globals()[command](**args) or {}))
            else:
                say(error=f"unknown command {command}")
        except Exception as e:
            say(error=f"{type(e).__name__}: {e}")


main()
