//! TODO(room): tracker
