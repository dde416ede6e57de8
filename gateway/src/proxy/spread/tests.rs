use std::net::{TcpListener, TcpStream};

use super::*;
use crate::config::ListenAddress;

fn loads(open: &[usize]) -> Arc<Loads> {
    let loads = Loads::new(open.len(), Heartbeats::new(open.len()));
    for (worker, open) in open.iter().enumerate() {
        (0..*open).for_each(|_| loads.add(worker));
    }
    loads
}

fn connections(loads: &Arc<Loads>) -> Arc<Connections> {
    Connections::new("web".into(), ListenAddress::Tcp(([127, 0, 0, 1], 80).into()), Arc::clone(loads))
}

fn arrival(connections: &Arc<Connections>, worker: usize) -> Arrival {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = Accepted::Tcp(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    Arrival { socket, address: None, listener: 0, place: Place::new(connections, worker) }
}

#[test]
fn a_worker_keeps_its_share_and_a_little_more() {
    let cases: [(&[usize], usize, usize); 8] = [
        (&[0, 0], 0, 0),
        (&[1, 0], 0, 1),
        (&[1, 1], 0, 0),
        (&[2, 1], 0, 1),
        (&[2, 1], 1, 1),
        (&[106, 98, 98, 98], 0, 0),
        (&[107, 99, 95, 99], 0, 2),
        (&[107, 99, 95, 99], 2, 2),
    ];
    for (open, own, expected) in cases {
        assert_eq!(loads(open).choose(own), expected, "{open:?} at {own}");
    }
    assert_eq!(loads(&[7]).choose(0), 0, "there is no other");
}

#[test]
fn a_place_is_counted_at_one_worker_until_it_is_dropped() {
    let loads = loads(&[0, 0]);
    let connections = connections(&loads);
    let place = Place::new(&connections, 0);
    assert!(connections.is_full(1) && !connections.is_full(2));
    let place = place.at(1);
    assert_eq!((loads.of(0), loads.of(1), loads.total()), (0, 1, 1));
    drop(place);
    assert_eq!((loads.total(), connections.is_full(1)), (0, false));
}

#[test]
fn a_full_or_closed_queue_gives_the_connection_back_to_who_accepted_it() {
    let loads = loads(&[0, 0]);
    let connections = connections(&loads);
    let mut all = peers(&loads);
    let (_other, end) = all.pop().unwrap();
    let (own, _own_end) = all.pop().unwrap();
    for _ in 0..QUEUE {
        own.hand_over(arrival(&connections, 1)).unwrap();
    }
    let back = own.hand_over(arrival(&connections, 1)).unwrap_err();
    assert_eq!((back.place.worker, loads.of(0), loads.of(1)), (0, 1, QUEUE));
    drop(end);
    assert_eq!(loads.of(1), 0, "what nobody took is counted no more");
    assert_eq!(own.hand_over(arrival(&connections, 1)).unwrap_err().place.worker, 0);
}

#[test]
fn the_queues_end_with_the_last_acceptor_and_not_before_what_is_in_them() {
    let loads = loads(&[0, 0]);
    let connections = connections(&loads);
    let mut all = peers(&loads);
    let (second, mut end) = all.pop().unwrap();
    let (first, _) = all.pop().unwrap();
    drop(second);
    first.hand_over(arrival(&connections, 1)).unwrap();
    drop(first);
    assert!(end.try_recv().is_ok());
    assert_eq!(end.try_recv().unwrap_err(), tokio::sync::mpsc::error::TryRecvError::Disconnected);
}

#[test]
fn connections_are_short_where_more_end_in_a_tick_than_are_open() {
    let churn = Churn::default();
    let tick = |ended: usize, open| {
        (0..ended).for_each(|_| churn.closed());
        churn.tick(open);
        churn.is_short()
    };
    assert!(!tick(0, 400), "they begin");
    assert!(!tick(100, 400));
    assert!(tick(500, 4));
    assert!(!tick(1, 0), "a single one says nothing");
    assert!(!tick(0, 4));
}
