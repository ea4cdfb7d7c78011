use proptest::prelude::*;

use super::Word;
use super::room::{Deed, Order, Refused, Role, Room};
use crate::caller::Caller;
use b2b_call::{CallId, LegId};

fn of(n: u64) -> Caller {
    Caller::User(n.to_string())
}

fn join(room: &mut Room, n: u64, role: Role) -> Result<Vec<Deed>, Refused> {
    room.join(CallId(n), LegId(n), of(n), role, 3, false)
}

#[test]
fn the_first_is_told_so_and_who_comes_later_is_heard_to_come() {
    let mut room = Room::default();
    let first = join(&mut room, 1, Role::Participant).unwrap();
    assert_eq!(first[0], Deed::Tell(LegId(1), Word::Alone));
    let second = join(&mut room, 2, Role::Participant).unwrap();
    assert!(matches!(second[..], [Deed::Mix(LegId(2), _), Deed::Say(Word::Joined)]), "{second:?}");
    let left = room.leave(LegId(1), false);
    assert_eq!((left.deeds, left.last), (vec![Deed::Say(Word::Gone)], false));
    assert!(room.leave(LegId(2), false).last);
    assert!(!room.leave(LegId(2), false).last, "it is over once");
}

#[test]
fn one_user_leaves_places_of_a_room_to_others_and_a_trunk_the_last_ones() {
    let mut room = Room::default();
    let mut n = 0;
    let mut joins = |room: &mut Room, who: &Caller| {
        n += 1;
        room.join(CallId(n), LegId(n), who.clone(), Role::Participant, 16, false).is_ok()
    };
    let fill = |room: &mut Room, joins: &mut dyn FnMut(&mut Room, &Caller) -> bool, who: &Caller| {
        (0..50).filter(|_| joins(room, who)).count()
    };
    let trunk = Caller::Trunk("carrier".to_owned());
    assert_eq!(fill(&mut room, &mut joins, &of(1001)), 14, "the last eighth is for others");
    assert_eq!(fill(&mut room, &mut joins, &trunk), 1);
    (1..=8).for_each(|leg| drop(room.leave(LegId(leg), false)));
    assert_eq!(fill(&mut room, &mut joins, &of(1001)), 2, "half while others are there");
    assert_eq!(fill(&mut room, &mut joins, &trunk), 5);
    assert!(joins(&mut room, &of(1002)) && !joins(&mut room, &of(1002)));
}

#[test]
fn a_full_or_locked_room_takes_nobody_but_a_locked_one_moderators() {
    let mut room = Room::default();
    join(&mut room, 1, Role::Moderator).unwrap();
    assert_eq!(room.key(LegId(1), '5'), [Deed::Say(Word::RoomLocked)]);
    assert_eq!(join(&mut room, 2, Role::Participant), Err(Refused::Locked));
    join(&mut room, 3, Role::Moderator).unwrap();
    assert_eq!(room.key(LegId(3), '5'), [Deed::Say(Word::RoomUnlocked)]);
    join(&mut room, 2, Role::Participant).unwrap();
    assert_eq!(join(&mut room, 4, Role::Moderator), Err(Refused::Full));
    for n in 1..=3 {
        room.leave(LegId(n), false);
    }
    assert!(!room.is_locked(), "the next ones find it open");
}

#[test]
fn keys_mute_and_make_louder_within_bounds() {
    let mut room = Room::default();
    join(&mut room, 1, Role::Participant).unwrap();
    let deeds = room.key(LegId(1), '1');
    assert!(matches!(deeds[..], [Deed::Mix(_, member), Deed::Tell(_, Word::Muted)] if member.muted));
    assert!(matches!(room.key(LegId(1), '1')[0], Deed::Mix(_, member) if !member.muted));
    for _ in 0..9 {
        room.key(LegId(1), '6');
    }
    assert_eq!(room.participants()[0].volume_db, 12);
    room.key(LegId(1), '4');
    assert_eq!(room.participants()[0].volume_db, 9);
    for key in ['5', '7', '8', '9', '0', 'x'] {
        assert_eq!(room.key(LegId(1), key), [Deed::Tell(LegId(1), Word::Refused)], "{key}");
    }
    assert_eq!(room.key(LegId(7), '1'), [], "who is not there has no keys");
}

#[test]
fn moderators_mute_all_others_and_send_away_who_came_last() {
    let mut room = Room::default();
    join(&mut room, 1, Role::Moderator).unwrap();
    join(&mut room, 2, Role::Participant).unwrap();
    join(&mut room, 3, Role::Participant).unwrap();
    let muted =
        |room: &Room| room.participants().iter().map(|participant| participant.muted).collect::<Vec<_>>();
    assert_eq!(room.key(LegId(1), '7').len(), 4);
    assert_eq!(muted(&room), [false, true, true]);
    assert_eq!(room.key(LegId(1), '7'), [], "they are");
    room.key(LegId(1), '8');
    assert_eq!(muted(&room), [false; 3]);
    assert_eq!(room.key(LegId(1), '9'), [Deed::SendAway(LegId(3))]);
    room.leave(LegId(3), false);
    assert_eq!(room.key(LegId(1), '9'), [Deed::SendAway(LegId(2))]);
    room.leave(LegId(2), false);
    assert_eq!(room.key(LegId(1), '9'), [Deed::Tell(LegId(1), Word::Refused)], "never a moderator");
    assert_eq!(room.key(LegId(1), '0'), [Deed::Record(true)]);
    assert_eq!(room.key(LegId(1), '0'), [Deed::Record(false)]);
}

#[test]
fn without_a_moderator_the_others_wait_and_go_with_the_last_one() {
    let mut room = Room::default();
    let one = |room: &mut Room, n: u64, role| room.join(CallId(n), LegId(n), of(n), role, 9, true).unwrap();
    let first = one(&mut room, 1, Role::Participant);
    assert_eq!(first, [Deed::Tell(LegId(1), Word::NoModerator), Deed::Wait(LegId(1))]);
    assert_eq!(room.key(LegId(1), '1'), [], "who waits has no keys");
    let deeds = one(&mut room, 2, Role::Moderator);
    assert!(deeds.contains(&Deed::Admit(LegId(1))), "{deeds:?}");
    let place = |wanted: fn(&Deed) -> bool| deeds.iter().position(wanted);
    let admitted = place(|deed| *deed == Deed::Admit(LegId(1)));
    assert!(admitted < place(|deed| matches!(deed, Deed::Mix(LegId(1), _))), "music ends first: {deeds:?}");
    one(&mut room, 3, Role::Moderator);
    assert_eq!(room.leave(LegId(2), true).deeds, [Deed::Say(Word::Gone)], "one is left");
    let left = room.leave(LegId(3), true);
    assert_eq!(left.deeds, [Deed::Say(Word::Gone), Deed::SendAway(LegId(1))]);
}

#[test]
fn a_program_orders_what_moderators_can_and_no_more() {
    let mut room = Room::default();
    assert_eq!(room.order(Order::Lock(true)), None, "nobody is there");
    room.join(CallId(1), LegId(1), of(1), Role::Participant, 9, true).unwrap();
    assert_eq!(room.order(Order::Mute(Some(LegId(1)), true)), Some(vec![]), "who waits is not in the mix");
    let deeds = room.join(CallId(2), LegId(2), of(2), Role::Moderator, 9, true).unwrap();
    assert!(
        deeds.iter().any(|deed| matches!(deed, Deed::Mix(LegId(1), member) if member.muted)),
        "{deeds:?}"
    );
    assert_eq!(room.order(Order::Mute(Some(LegId(1)), true)), Some(vec![]), "it is");
    assert_eq!(room.order(Order::Mute(None, false)).map(|deeds| deeds.len()), Some(2));
    assert_eq!(room.order(Order::Mute(Some(LegId(7)), true)), None);
    let louder = room.order(Order::Volume(LegId(1), 99)).unwrap();
    assert!(matches!(louder[..], [Deed::Mix(LegId(1), member)] if member.volume_db == 12));
    assert_eq!(room.order(Order::Lock(true)), Some(vec![Deed::Say(Word::RoomLocked)]));
    assert_eq!(room.order(Order::Lock(true)), Some(vec![]));
    assert!(room.is_locked());
    assert_eq!(room.order(Order::Record(true)), Some(vec![Deed::Record(true)]));
    assert_eq!(room.order(Order::SendAway(LegId(2))), Some(vec![Deed::SendAway(LegId(2))]));
    assert_eq!(room.order(Order::SendAway(LegId(9))), None);
}

#[test]
fn members_take_up_the_latest_that_one_of_them_has_kept_in_any_order() {
    let mut room = Room::default();
    join(&mut room, 1, Role::Moderator).unwrap();
    join(&mut room, 2, Role::Participant).unwrap();
    let early = room.kept(LegId(2)).unwrap();
    join(&mut room, 3, Role::Participant).unwrap();
    room.key(LegId(1), '5');
    room.key(LegId(1), '0');
    let late = [1, 3].map(|n| room.kept(LegId(n)).unwrap());
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut again = Room::default();
        let kept = [late[0].clone(), early.clone(), late[1].clone()];
        let deeds = order.map(|n| again.take_up(kept[n].clone(), of(n as u64)));
        assert_eq!(again.participants(), room.participants());
        assert!(again.is_locked());
        let others = deeds.concat().into_iter().filter(|deed| !matches!(deed, Deed::Mix(..)));
        assert_eq!(others.collect::<Vec<_>>(), [Deed::Record(true)], "nobody is greeted");
    }
}

proptest! {
    /// In any sequence of events: a member who has not left is listed exactly once, the room is over exactly
    /// when it becomes empty, and no deed concerns a leg that is not a member.
    #[test]
    fn nobody_is_lost_or_there_twice(
        steps in prop::collection::vec((0_u8..3, 0_u64..6, any::<bool>(), prop::sample::select(vec!['0', '1', '2', '4', '5', '6', '7', '8', '9'])), 0..200),
        needs_moderator: bool,
    ) {
        let mut room = Room::default();
        let mut there: Vec<u64> = Vec::new();
        for (step, n, moderator, key) in steps {
            let leg = LegId(n);
            let deeds = match step {
                0 if !there.contains(&n) => {
                    let role = if moderator { Role::Moderator } else { Role::Participant };
                    let joined = room.join(CallId(n), leg, of(n), role, 4, needs_moderator);
                    if joined.is_ok() {
                        there.push(n);
                    }
                    joined.unwrap_or_default()
                }
                1 => {
                    let was = there.len();
                    there.retain(|it| *it != n);
                    let left = room.leave(leg, needs_moderator);
                    prop_assert_eq!(left.last, was == 1 && there.is_empty());
                    left.deeds
                }
                _ => room.key(leg, key),
            };
            let participants: Vec<u64> = room.participants().iter().map(|participant| participant.leg.0).collect();
            prop_assert_eq!(&participants, &there);
            for deed in deeds {
                let about = match deed {
                    Deed::Mix(leg, _) | Deed::Wait(leg) | Deed::Admit(leg) | Deed::Tell(leg, _)
                    | Deed::Leave(leg) | Deed::SendAway(leg) => Some(leg.0),
                    Deed::Say(_) | Deed::Record(_) => None,
                };
                // A key of a leg that is not a member has no effect.
                prop_assert!(about.is_none_or(|about| there.contains(&about)), "{:?}", deed);
            }
            if !needs_moderator || room.participants().iter().any(|participant| participant.role == Role::Moderator) {
                prop_assert!(room.participants().iter().all(|participant| !participant.waits));
            }
        }
    }
}
