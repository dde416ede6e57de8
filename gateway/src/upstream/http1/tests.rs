//! The client by itself: what it takes of an answer, held against hyper's, and what it does over a real socket.

mod against_hyper;
mod over_sockets;
mod rules;
