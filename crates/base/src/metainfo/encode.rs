//! Writing a .torrent: the info dictionary as it is, everything else from what is known.

use super::Metainfo;
use crate::bencode::{Dict, Item};

impl Metainfo {
    /// The bytes of the .torrent file.
    pub fn encode(&self) -> Vec<u8> {
        let mut dict = Dict::new().with(b"info", Item::Raw((&*self.info.raw).into()));
        if let Some(first) = self.trackers.iter().flatten().next() {
            dict.insert(b"announce", &**first);
        }
        // BEP 12; readers that don't know it have the first one.
        if self.trackers.iter().map(Vec::len).sum::<usize>() > 1 {
            dict.insert(b"announce-list", self.trackers.iter().map(|tier| strings(tier)).collect::<Vec<_>>());
        }
        if !self.web_seeds.is_empty() {
            dict.insert(b"url-list", strings(&self.web_seeds));
        }
        if !self.nodes.is_empty() {
            let node = |(host, port): &(String, u16)| Item::List(vec![host.clone().into(), (*port).into()]);
            dict.insert(b"nodes", self.nodes.iter().map(node).collect::<Vec<_>>());
        }
        if self.info.hashes.v2.is_some() {
            let mut layers = Dict::new();
            for (root, layer) in self.layers.iter() {
                layers.insert(root.as_slice(), layer.concat());
            }
            dict.insert(b"piece layers", layers);
        }
        dict.with_some(b"comment", self.comment.as_deref())
            .with_some(b"created by", self.created_by.as_deref())
            .with_some(b"creation date", self.creation_date)
            .encode()
    }
}

fn strings(list: &[String]) -> Item<'_> {
    Item::List(list.iter().map(|s| Item::from(&**s)).collect())
}
