"""Where 60 steps would be finished first, with what is still on time there: 20 steps at least, 100 at most."""


def decide(observation):
    offers = observation.offers
    first = min(range(len(offers)), key=lambda j: offers[j].time_to_finish(60))
    offer = offers[first]
    on_time = offer.most_steps_within(observation.time_to_due - offer.backlog) or 1
    steps = min(max(on_time, 20), 100)
    return first, min(max(steps, offer.min_steps), offer.max_steps)
