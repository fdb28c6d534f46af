"""One libtorrent peer as a process: JSON lines on standard input and output. Arguments: ip port [setting=value ...]"""
import json
import sys

import libtorrent as lt

ip, port = sys.argv[1], int(sys.argv[2])
settings = {
    "listen_interfaces": f"{ip}:{port}", "outgoing_interfaces": ip,
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    # TCP without encryption, as everybody else in these comparisons.
    "enable_outgoing_utp": False, "enable_incoming_utp": False, "in_enc_policy": 2, "out_enc_policy": 2,
    "allow_multiple_connections_per_ip": True, "ssrf_mitigation": False, "alert_mask": 1,
    "active_downloads": -1, "active_seeds": -1, "active_limit": 100000, "active_checking": 4,
}
for pair in sys.argv[3:]:
    name, value = pair.split("=", 1)
    settings[name] = value == "true" if value in ("true", "false") else int(value)
session, handles = lt.session(settings), []


def say(**fields):
    print(json.dumps(fields), flush=True)


say(ready=True, version=lt.version)
for line in sys.stdin:
    command = json.loads(line)
    if command["cmd"] == "add":
        for path in command["torrents"]:
            p = lt.add_torrent_params()
            p.ti, p.save_path = lt.torrent_info(path), command["dir"]
            p.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
            handles.append(session.add_torrent(p))
        say(ok=True)
    elif command["cmd"] == "save":
        # Resume data of every torrent, one bencoded list in one file: what a client keeps between two runs.
        for h in handles:
            h.save_resume_data(lt.save_resume_flags_t.save_info_dict)
        saved = []
        while len(saved) < len(handles):
            session.wait_for_alert(10000)
            for alert in session.pop_alerts():
                if isinstance(alert, lt.save_resume_data_alert):
                    saved.append(lt.write_resume_data_buf(alert.params))
        with open(command["path"], "wb") as f:
            f.write(lt.bencode(saved))
        say(ok=True)
    elif command["cmd"] == "load":
        with open(command["path"], "rb") as f:
            saved = lt.bdecode(f.read())
        for data in saved:
            p = lt.read_resume_data(data)
            p.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
            handles.append(session.add_torrent(p))
        say(ok=True)
    elif command["cmd"] == "status":
        states = [h.status(0) for h in handles]
        say(done=sum(s.total_wanted_done for s in states), complete=all(s.is_seeding for s in states),
            seeding=sum(s.is_seeding for s in states))
