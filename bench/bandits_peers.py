"""Other libraries' bandits in our environments: each as its manual has it, masked from outside where it knows no masks.

All see the same matured decisions at the same updates. Rewards are profits over their standard deviation at the first
update; where a library models conversions, it is given conversions, and its probability times their worth is compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from vowpalwabbit import Workspace

from experiments.simulating.contexts import matrix
from experiments.simulating.environment import Environment, FloatArray, World
from experiments.simulating.history import History
from experiments.simulating.learner import surely

VW_OPTIONS = {"squarecb": "--squarecb --gamma_scale 500", "bag": "--bag 5 --greedify --epsilon 0.02"}


class Peer:
    """What they share: the design matrix, the scale of rewards, the best eligible score."""

    learns = True

    def __init__(self, environment: Environment, name: str) -> None:
        self.name = name
        self.environment = environment
        self.scale = 0.0
        self._contexts: FloatArray | None = None

    def contexts(self, world: World) -> FloatArray:
        """Return the whole world's design matrix, without the intercept where a library adds its own."""
        if self._contexts is None:
            self._contexts = matrix(self.environment, world)
        return self._contexts

    def rewards(self, history: History) -> FloatArray:
        """Return the new decisions' profits in units of their first standard deviation."""
        profit = history.profit(history.fresh)
        if self.scale == 0.0:
            self.scale = max(float(profit.std()), 1e-12)
        return profit / self.scale

    def scores(self, contexts: FloatArray) -> FloatArray:
        raise NotImplementedError

    def probabilities(self, world: World, rows: slice) -> FloatArray:
        scores = self.scores(self.contexts(world)[rows])
        return surely(np.where(world.eligible[rows], scores, -np.inf))


class Contextualbandits(Peer):
    """contextualbandits: LinUCB and LinTS, a ridge for each arm."""

    def __init__(self, environment: Environment, policy: str, *, seed: int) -> None:
        super().__init__(environment, f"contextualbandits:{policy}")
        from contextualbandits.online import LinTS, LinUCB

        count = len(environment.variants)
        # LinTS of 0.3.30 as it comes (sample_from="coef") decides no better than an even split.
        self.model = (
            LinUCB(count, alpha=1.0, random_state=seed)
            if policy == "linucb"
            else LinTS(count, v_sq=0.09, sample_from="ci", random_state=seed)
        )

    def contexts(self, world: World) -> FloatArray:
        return super().contexts(world)[:, 1:]

    def scores(self, contexts: FloatArray) -> FloatArray:
        return np.asarray(self.model.decision_function(np.ascontiguousarray(contexts)), dtype=np.float64)

    def learn(self, history: History) -> None:
        rewards = self.rewards(history)
        contexts = np.ascontiguousarray(self.contexts(history.world)[history.fresh])
        self.model.partial_fit(contexts, history.variant[history.fresh], rewards)


class Bayesianbandits(Peer):
    """bayesianbandits: Thompson sampling, an independent learner for each arm."""

    def __init__(self, environment: Environment, policy: str, *, seed: int) -> None:
        super().__init__(environment, f"bayesianbandits:{policy}")
        import bayesianbandits as bb

        self.binary = policy.startswith("glm")
        rng = np.random.default_rng(seed)
        # Of its own rows an arm forgets half after 350: the best of .9995, .999, .998 and .996 under our drift.
        forgetting = bb.ExponentialForgetting(0.998) if policy.endswith("-forgetting") else None

        def learner() -> Any:
            if self.binary:
                return bb.BayesianGLM(alpha=1.0, link="logit", forgetting=forgetting, random_state=rng)
            return bb.NormalInverseGammaRegressor(mu=0.0, lam=1.0, forgetting=forgetting, random_state=rng)

        self.arms = [bb.Arm(k, learner=learner()) for k in range(len(environment.variants))]
        self.seen = np.zeros(len(self.arms), dtype=bool)

    def scores(self, contexts: FloatArray) -> FloatArray:
        drawn = np.stack([np.asarray(arm.sample(contexts, size=1)).reshape(-1) for arm in self.arms], axis=1)
        if self.binary:
            return drawn * np.asarray(self.environment.worth) - np.asarray(self.environment.contact)
        return drawn

    def learn(self, history: History) -> None:
        rows, rewards = history.fresh, self.rewards(history)
        if self.binary:
            rewards = history.converted(rows)
        contexts = self.contexts(history.world)[rows]
        for index, arm in enumerate(self.arms):
            own = history.variant[rows] == index
            if own.any():
                arm.update(contexts[own], rewards[own])


class VowpalWabbit(Peer):
    """Vowpal Wabbit with a list of the eligible actions. It says probabilities, and they are drawn from."""

    def __init__(self, environment: Environment, policy: str, *, seed: int) -> None:
        super().__init__(environment, f"vw:{policy}")
        options = f"--cb_explore_adf --cb_type mtr {VW_OPTIONS[policy]} -q sa --quiet -b 20 --random_seed {seed}"
        self.model = Workspace(options)
        self._texts: list[str] | None = None

    def _text(self, world: World) -> list[str]:
        if self._texts is None:
            self._texts = [
                "shared |s " + " ".join(f"{index}:{row[index]:.5g}" for index in np.flatnonzero(row))
                for row in self.contexts(world)
            ]
        return self._texts

    def probabilities(self, world: World, rows: slice) -> FloatArray:
        texts = self._text(world)[rows]
        p = np.zeros((len(texts), len(self.environment.variants)))
        for place, (text, eligible) in enumerate(zip(texts, world.eligible[rows], strict=True)):
            actions = np.flatnonzero(eligible)
            p[place, actions] = self.model.predict("\n".join([text, *(f"|a v{index}" for index in actions)]))
        return p / p.sum(axis=1, keepdims=True)

    def learn(self, history: History) -> None:
        texts = self._text(history.world)
        for row, reward in zip(history.fresh, self.rewards(history), strict=True):
            lines = [texts[row]]
            for index in np.flatnonzero(history.world.eligible[row]):
                label = f"0:{-reward:.6g}:{history.propensity[row]:.6g} " if index == history.variant[row] else ""
                lines.append(f"{label}|a v{index}")
            self.model.learn("\n".join(lines))
