//! What a gateway is made of.
