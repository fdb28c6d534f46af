//! TODO(room): wire
