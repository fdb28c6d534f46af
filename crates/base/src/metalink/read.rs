//! Walks the elements of a Metalink: the XML of strangers, with bounds.
//!
//! Elements count as the Metalink's own if they have the prefix of the outermost one and do not change what it means:
//! that is how such files are written, and it costs no list of names that a stranger could make long.

use super::{Metalink, MetalinkError, MetalinkFault};
use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:metalink";
/// Blanks around a text, in bytes.
const BLANKS_MAX: usize = 4 * Metalink::TEXT_MAX;
const NAMESPACE_3: &str = "http://www.metalinker.org/";

/// A place in the file.
pub(super) struct Walk<'a> {
    text: &'a str,
    reader: Reader<&'a [u8]>,
    depth: usize,
    /// What stands before the colon in names of the Metalink's own elements.
    prefix: String,
}

impl<'a> Walk<'a> {
    /// Goes into the outermost element.
    pub(super) fn new(text: &'a str) -> Result<Self, MetalinkError> {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let mut walk = Walk { text, reader, depth: 0, prefix: String::new() };
        loop {
            match walk.event()? {
                Event::Start(root) => {
                    let name = root.name();
                    let (prefix, local) = split(name.as_ref());
                    let namespace = walk.attribute(&root, &declares(prefix))?;
                    let prefix = prefix.to_owned();
                    return match (local, namespace.as_deref()) {
                        ("metalink", Some(NAMESPACE)) => Ok(Walk { prefix, ..walk }),
                        ("metalink", Some(NAMESPACE_3)) => Err(walk.error(MetalinkFault::Version3)),
                        _ => Err(walk.error(MetalinkFault::NotAMetalink(shown(local)))),
                    };
                }
                Event::Eof => return Err(walk.error(MetalinkFault::NotAMetalink(String::new()))),
                _ => {}
            }
        }
    }

    /// An error at this place.
    pub(super) fn error(&self, fault: impl Into<MetalinkFault>) -> MetalinkError {
        let at = (self.reader.buffer_position() as usize).min(self.text.len());
        let lines = self.text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count();
        MetalinkError { line: lines.saturating_add(1).try_into().unwrap_or(u32::MAX), fault: fault.into() }
    }

    fn event(&mut self) -> Result<Event<'a>, MetalinkError> {
        let event = match self.reader.read_event() {
            Ok(event) => event,
            Err(error) => return Err(self.error(MetalinkFault::Xml(shown(&error.to_string())))),
        };
        match &event {
            Event::Start(_) if self.depth == Metalink::DEPTH_MAX => return Err(self.error(MetalinkFault::Deep)),
            Event::Start(_) => self.depth += 1,
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            Event::DocType(_) => return Err(self.error(MetalinkFault::DocType)),
            Event::Eof if self.depth > 0 => {
                return Err(self.error(MetalinkFault::Xml("it ends within an element".to_owned())));
            }
            _ => {}
        }
        Ok(event)
    }

    /// The next element within the one that we are in: its local name and itself. None: the one that we are in has ended.
    /// Who gets one goes through it, with this, [`Walk::text`] or [`Walk::skip`].
    pub(super) fn child(&mut self) -> Result<Option<(String, BytesStart<'a>)>, MetalinkError> {
        loop {
            match self.event()? {
                Event::Start(start) if self.is_own(&start)? => {
                    let local = split(start.name().as_ref()).1.to_owned();
                    return Ok(Some((local, start)));
                }
                Event::Start(_) => self.skip()?,
                Event::End(_) | Event::Eof => return Ok(None),
                _ => {}
            }
        }
    }

    fn is_own(&self, start: &BytesStart<'_>) -> Result<bool, MetalinkError> {
        let name = start.name();
        let (prefix, _) = split(name.as_ref());
        if prefix != self.prefix {
            return Ok(false);
        }
        Ok(self.attribute(start, &declares(prefix))?.is_none_or(|namespace| namespace == NAMESPACE))
    }

    /// Goes to the end of the element that we are in.
    pub(super) fn skip(&mut self) -> Result<(), MetalinkError> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            self.event()?;
        }
        Ok(())
    }

    /// The text of the element that we are in, without blanks around it; elements in it are skipped. `what` it is.
    pub(super) fn text(&mut self, what: &'static str) -> Result<String, MetalinkError> {
        let mut text = String::new();
        loop {
            match self.event()? {
                Event::Text(part) => text.push_str(&part.xml10_content()),
                Event::CData(part) => text.push_str(&part.xml10_content()),
                Event::GeneralRef(name) => match name.resolve_char_ref() {
                    Ok(Some(c)) => text.push(c),
                    _ => match resolve_predefined_entity(&name) {
                        Some(plain) => text.push_str(plain),
                        None => return Err(self.error(MetalinkFault::Entity(shown(&name)))),
                    },
                },
                Event::Start(_) => self.skip()?,
                Event::End(_) | Event::Eof => break,
                _ => {}
            }
            if text.len() > Metalink::TEXT_MAX + BLANKS_MAX {
                return Err(self.error(MetalinkFault::LongText { what }));
            }
        }
        match text.trim() {
            text if text.len() <= Metalink::TEXT_MAX => Ok(text.to_owned()),
            _ => Err(self.error(MetalinkFault::LongText { what })),
        }
    }

    /// An attribute of an element, if it has it.
    pub(super) fn attribute(&self, start: &BytesStart<'_>, name: &str) -> Result<Option<String>, MetalinkError> {
        // Without the check for attributes that are there twice, which takes the square of their number.
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(|e| self.error(MetalinkFault::Xml(shown(&e.to_string()))))?;
            if attribute.key.as_ref() != name {
                continue;
            }
            if attribute.value.len() > Metalink::TEXT_MAX {
                return Err(self.error(MetalinkFault::LongText { what: "an attribute" }));
            }
            let value = attribute.normalized_value(XmlVersion::Explicit1_0);
            let value = value.map_err(|e| self.error(MetalinkFault::Xml(shown(&e.to_string()))))?;
            return Ok(Some(value.into_owned()));
        }
        Ok(None)
    }
}

/// A name and what stands before its colon.
fn split(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or(("", name))
}

/// The attribute that says what a prefix means.
fn declares(prefix: &str) -> String {
    if prefix.is_empty() { "xmlns".to_owned() } else { format!("xmlns:{prefix}") }
}

/// Words of strangers, short enough for an error.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 80;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}
