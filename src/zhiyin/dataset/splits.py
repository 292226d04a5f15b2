"""Honest divisions of a data set: by time, the next event, leave-one-out, folds of ratings, held-out users, items."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from zhiyin.core.arrays import BoolVector, FloatMatrix, IntVector
from zhiyin.core.dataset import Dataset, Holdout, Query, Split
from zhiyin.core.errors import InputError
from zhiyin.core.events import MISSING_TIME, RATING
from zhiyin.core.histories import DAY, Histories, History, liking


def time_split(data: Dataset, start: float, end: float = 1.0, keep_seen: bool = False) -> Split:
    """Train on the events before the quantile `start` of all event times; ask about those up to `end`.

    Users need a history before the cut. An event of unknown time only trains. Raises `InputError` where most times are
    unknown, or all alike.
    """
    times = data.histories.timestamps
    low, high = _moments(data, start, end)
    before = times < low
    asked = (times >= low) & ((times < high) if end < 1 else True)
    if not before.any() or not asked.any():
        raise InputError("the events cannot be divided by time: too few distinct timestamps")
    return _divide(data, "time", before, asked, now=low, keep_seen=keep_seen)


def next_event_split(data: Dataset, start: float, end: float = 1.0) -> Split:
    """Train on the events before the quantile `start` of all event times; ask for each user's next item up to `end`.

    The question is the last item that a user met for the first time in that span, and all that they did before it is
    known, as it is to a server that hears of every event; so newcomers are asked about, too, once something is known of
    them. Events of one moment, the lines of an order, are known together and asked about together, unless times tell no
    more than the day. Raises `InputError` where most times are unknown, or all alike.
    """
    low, high = _moments(data, start, end)
    return _next_events(data, low, high if end < 1 else None)


def next_events_since(data: Dataset, moment: int) -> Split:
    """`next_event_split` at epoch ms: the events before `moment` train, and what came from then on is asked about."""
    return _next_events(data, moment, None)


def leave_one_out_split(data: Dataset, which: str = "test", keep_seen: bool = False) -> Split:
    """The last event of each user is the question of "test", the last but one that of "validation".

    Users with fewer than three events only train.
    """
    lengths = data.histories.lengths[data.histories.users]
    from_end = lengths - 1 - data.histories.places
    enough = lengths >= 3
    distance = {"test": 0, "validation": 1}[which]
    asked = enough & (from_end == distance)
    before = ~enough | (from_end > distance)
    if not asked.any():
        raise InputError("leave-one-out needs users with at least three events; there is none")
    return _divide(data, "leave-one-out", before, asked, now=data.now, keep_seen=keep_seen)


def last_share_split(data: Dataset, share: float, keep_seen: bool = False) -> Split:
    """The last `share` of each user's events, rounded up, is asked about, whenever they were."""
    lengths = data.histories.lengths[data.histories.users]
    late = data.histories.places >= np.floor((1 - share) * lengths)
    return _divide(data, "last share", ~late, late, now=data.now, keep_seen=keep_seen)


def last_visit_split(data: Dataset, pause_days: float = 1.0, keep_seen: bool = False) -> Split:
    """What each user did since they were last away for more than `pause_days` is asked about, whenever that was.

    Users who never were only train. Raises `InputError` where most times are unknown.
    """
    _moments(data)
    histories = data.histories
    visits = np.cumsum(histories.returns(pause_days))
    last = visits[histories.indptr[histories.users + 1] - 1]
    asked = (visits == last) & (visits > visits[histories.indptr[histories.users]])
    return _divide(data, "last visit", ~asked, asked, now=data.now, keep_seen=keep_seen)


def fold_splits(data: Dataset, folds: int, seed: int) -> Iterator[Split]:
    """`folds` random divisions of the rated events; each rating is asked about once, of newcomers too."""
    rated = ~np.isnan(data.histories.ratings)
    if rated.sum() < folds:
        raise InputError(f"{folds} folds need at least {folds} ratings; the data has {rated.sum()}")
    label = np.full(len(rated), -1)
    label[rated] = np.random.default_rng(seed).permutation(int(rated.sum())) % folds
    for fold in range(folds):
        train = _without(data, label == fold, data.now, f"fold {fold + 1} of {folds}, seed {seed}")
        answers = data.histories.keep(label == fold)
        users = np.flatnonzero(answers.lengths > 0)
        asked = [answers.of(user) for user in users.tolist()]
        nothing = tuple(np.zeros(0, np.int64) for _ in asked)
        queries = tuple(_query(train, train.histories.of(user), user) for user in users.tolist())
        targets, ratings = tuple(each.items for each in asked), tuple(each.ratings for each in asked)
        name = f"fold {fold + 1} of {folds}"
        yield Split(train, Holdout(name, users.astype(np.int64), queries, targets, ratings, nothing))


def user_holdout_split(data: Dataset, share: float, seed: int, keep_seen: bool = False) -> Split:
    """A random `share` of the users is unknown to training; their last fifth of events is asked about."""
    chosen = np.random.default_rng(seed).random(len(data.users)) < share
    users = data.histories.users
    mine = chosen[users]
    late = data.histories.places >= np.ceil(0.8 * data.histories.lengths[users])
    return _divide(data, "user-holdout", ~mine, mine & late, now=data.now, keep_seen=keep_seen, evidence=~late)


def newcomer_splits(data: Dataset, start: float, after: Sequence[int]) -> dict[int, Split]:
    """By number of events in `after`: questions put to newcomers right after so many of their first events.

    Newcomers first come after the quantile `start` of all event times, where training ends. The answers are all that
    they like after the greatest number, and what they met up to there is in no list, so that the splits differ by what
    is known alone. Raises `InputError` where most times are unknown, and where nobody comes later and stays so long.
    """
    (low,), most = _moments(data, start), max(after)
    train = _without(data, data.histories.timestamps >= low, low, f"newcomers after {start}")
    users, histories, targets, ratings, seen = [], [], [], [], []
    for user in np.flatnonzero((train.histories.lengths == 0) & (data.histories.lengths > most)).tolist():
        whole = data.histories.of(user)
        first, later = whole.take(slice(0, most)), whole.take(slice(most, None))
        later = later.take(np.flatnonzero((later.weights > 0) & ~np.isin(later.items, first.items)))
        fresh = np.sort(np.unique(later.items, return_index=True)[1])
        if len(fresh):
            users.append(user)
            histories.append(whole)
            targets.append(later.items[fresh])
            ratings.append(later.ratings[fresh])
            seen.append(np.unique(first.items))
    if not users:
        raise InputError(
            f"no user first comes in the last {1 - start:.0%} of the events and goes on after {most} of them"
        )
    rows: IntVector = np.array(users, np.int64)
    splits = {}
    for k in after:
        queries = tuple(
            Query(whole.take(slice(0, k)), int(whole.timestamps[max(k - 1, 0)]), train.features_of(user))
            for user, whole in zip(users, histories, strict=True)
        )
        name = f"newcomers after {k} events"
        splits[k] = Split(train, Holdout(name, rows, queries, tuple(targets), tuple(ratings), tuple(seen)))
    return splits


def never_asked(data: Dataset, start: float) -> Dataset:
    """The events that neither a split by time from the quantile `start` on asks about, nor leave-one-out."""
    histories = data.histories
    lengths = histories.lengths[histories.users]
    held = (lengths >= 3) & (lengths - histories.places <= 2)
    with suppress(InputError):
        held |= histories.timestamps >= _moments(data, start)[0]
    return _without(data, held, data.now, f"never asked, from {start}")


def item_holdout_split(data: Dataset, share: float, seed: int) -> Split:
    """A random `share` of the items is unknown to training; every event on them is asked about."""
    held = np.random.default_rng(seed).random(len(data.items)) < share
    asked = held[data.histories.items]
    return _divide(data, "item-holdout", ~asked, asked, now=data.now, keep_seen=False)


def cold_items(split: Split) -> IntVector:
    """Rows of the items that have content and that no training event names, sorted."""
    train = split.train
    told = np.zeros(len(train.items), np.bool_)
    for name in ("title", "description", "categories", "image", "audio"):
        told |= np.array([bool(value) for value in getattr(train.catalog, name)], np.bool_)
    for vectors in train.content.values():
        told |= np.abs(vectors).sum(axis=1) > 0
    named = np.bincount(train.histories.items, minlength=len(train.items)) > 0
    return np.flatnonzero(told & ~named).astype(np.int64)


def some_items(histories: Histories, share: float, seed: int) -> IntVector:
    """Rows of a random `share` of the items that events name."""
    named = np.unique(histories.items)
    return named[np.random.default_rng(seed).random(len(named)) < share]


def hold_out_items(split: Split, items: IntVector) -> Split:
    """The same questions where `items` are new: no training event and no history names them, the answers may.

    A user keeps the place of the question, with nothing left to go by perhaps; what they have seen stays seen.
    """
    train, holdout = split.train, split.holdout
    held = np.isin(train.histories.items, items)
    queries = tuple(
        replace(query, history=query.history.take(np.flatnonzero(~np.isin(query.history.items, items))))
        for query in holdout.queries
    )
    name = f"{holdout.name}, {len(items)} items held out"
    return Split(_without(train, held, train.now, name), replace(holdout, name=name, queries=queries))


def _next_events(data: Dataset, low: int, high: int | None) -> Split:
    histories, users = data.histories, data.histories.users
    times = histories.timestamps
    before, asked = times < low, (times >= low) & ((times < high) if high is not None else True)
    asked &= (histories.weights > 0) & _first_meetings(histories)
    last = np.full(len(data.users), -1)
    last[users[asked]] = np.flatnonzero(asked)
    if (times[times != MISSING_TIME] % DAY).any():
        moments = times[last[users]]
        question, evidence = asked & (times == moments), (last[users] >= 0) & (times < moments)
    else:
        places = np.arange(len(times))
        question, evidence = places == last[users], places < last[users]
    following = ~evidence & (last[users] >= 0) & ((times < high) if high is not None else True)
    return _divide(
        data,
        "next",
        before,
        question,
        now=low,
        keep_seen=False,
        evidence=evidence,
        moments=times[last],
        following=following,
    )


def _first_meetings(histories: Histories) -> BoolVector:
    """(events,) whether no earlier one made its item known to its user."""
    width = int(histories.items.max(initial=0)) + 1
    pairs = np.unique(histories.users * width + histories.items, return_inverse=True)[1]
    seen = np.flatnonzero(np.ones(len(pairs), np.bool_) if histories.seen is None else histories.seen)
    first = np.full(len(pairs), len(pairs))
    np.minimum.at(first, pairs[seen], seen)
    fresh: BoolVector = np.arange(len(pairs)) <= first[pairs]
    return fresh


def _moments(data: Dataset, *quantiles: float) -> tuple[int, ...]:
    """Event times at `quantiles` of those known."""
    times = data.histories.timestamps
    missing = int((times == MISSING_TIME).sum())
    if 2 * missing >= len(times):
        raise InputError(
            f"a split by time needs timestamps, and {missing:,} of {len(times):,} events have none; "
            "choose leave-one-out instead"
        )
    known = times[times != MISSING_TIME]
    return tuple(int(np.quantile(known, quantile, method="lower")) for quantile in quantiles)


def _divide(
    data: Dataset,
    name: str,
    before: BoolVector,
    asked: BoolVector,
    *,
    now: int,
    keep_seen: bool,
    evidence: BoolVector | None = None,
    moments: IntVector | None = None,
    following: BoolVector | None = None,
) -> Split:
    """evidence: (events,) what queries know; None is all that trains. moments: (users,) when each is asked, if not at
    `now`. following: (events,) what tells what came of the answers; None is all that is asked about.
    """
    train = _without(data, ~before, now, name)
    known = train.histories if evidence is None else data.histories.keep(evidence)
    answers = data.histories.keep(asked & (data.histories.weights > 0))
    users, queries, targets, ratings, seen, shown = [], [], [], [], [], []
    for user in np.flatnonzero((answers.lengths > 0) & (known.lengths > 0)).tolist():
        answer = answers.of(user)
        hidden = np.zeros(0, np.int64) if keep_seen else known.known_to(user)
        first = np.sort(np.unique(answer.items, return_index=True)[1])
        first = first[~np.isin(answer.items[first], hidden)]
        if not len(first):
            continue
        users.append(user)
        history = known.of(user)
        query = _query(train, history, user)
        queries.append(query if moments is None else replace(query, now=int(moments[user])))
        targets.append(answer.items[first])
        ratings.append(answer.ratings[first])
        seen.append(hidden)
        if data.exposures is not None:
            span = int(history.timestamps[-1]), int(answer.timestamps[first[-1]])
            shown.append(data.exposures.between(user, *span))
    if not users:
        raise InputError(f"the {name} split leaves nobody to ask: no user has both a history and a new item after it")
    rows: IntVector = np.array(users, np.int64)
    holdout = Holdout(name, rows, tuple(queries), tuple(targets), tuple(ratings), tuple(seen), tuple(shown))
    told = data.histories.keep(asked if following is None else following)
    outcomes = _outcomes(told, rows, targets, data.rating_scale)
    return Split(train, replace(holdout, outcomes=outcomes, kinds=told.kind_names))


def _outcomes(
    told: Histories, users: IntVector, targets: Sequence[IntVector], scale: tuple[float, float] | None
) -> tuple[FloatMatrix, ...]:
    """As `Holdout` has them, of events that are `told` of each target at least once."""
    if told.kinds is None:
        return ()
    width = int(told.items.max(initial=0)) + 1
    pairs, places = np.unique(told.users * width + told.items, return_inverse=True)
    did = np.zeros((len(pairs), len(told.kind_names)))
    did[places, told.kinds] = 1.0
    if RATING in told.kind_names and scale is not None:
        rated = np.flatnonzero(~np.isnan(told.ratings))
        did[:, told.kind_names.index(RATING)] = np.nan
        did[places[rated], told.kind_names.index(RATING)] = liking(told.ratings[rated], scale)
    lengths = [len(items) for items in targets]
    asked = np.searchsorted(pairs, np.repeat(users, lengths) * width + np.concatenate(targets))
    return tuple(np.split(did[asked], np.cumsum(lengths)[:-1]))


def _without(data: Dataset, held: BoolVector, now: int, name: str) -> Dataset:
    """What is left to train on, under a fingerprint that tells which events are held out."""
    fingerprint = hashlib.sha256(f"{data.fingerprint}/{name}/{now}".encode() + np.packbits(held).tobytes()).hexdigest()
    return replace(data, histories=data.histories.keep(~held), now=now, fingerprint=fingerprint)


def _query(train: Dataset, history: History, user: int) -> Query:
    return Query(history.last(train.history_limit), train.now, train.features_of(user))
