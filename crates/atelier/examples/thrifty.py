"""The most that a request can earn, less a price for the time that it takes from the others."""

PRICE = 1.5  # of a second of a server
POWER = {"linear": 1.0, "quadratic": 2.0, "square_root": 0.5}


def decide(observation):
    def worth(choice):
        offer, steps = observation.offers[choice[0]], choice[1]
        late = max(0.0, offer.time_to_finish(steps) - observation.time_to_due)
        penalty = observation.tardiness_weight * late ** POWER[observation.request.penalty]
        return observation.quality(steps) - penalty - PRICE * offer.service_time(steps)

    offers = enumerate(observation.offers)
    return max(((j, s) for j, offer in offers for s in range(offer.min_steps, offer.max_steps + 1, 10)), key=worth)
