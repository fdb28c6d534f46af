//! TODO(room): web
