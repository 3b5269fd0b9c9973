"""Bayesian readings: posteriors of effects, probability of being better or best, expected loss, priors."""

from stats.bayes.beta_binomial import beta_binomial, proportions_posterior
from stats.bayes.normal import normal_posterior
from stats.bayes.posterior import Posterior, PosteriorValue
from stats.bayes.prior import HistoryPrior, prior_from_history, prior_sd
from stats.bayes.ranking import Ranking, chance_best, chance_best_of_betas

__all__ = [
    "HistoryPrior",
    "Posterior",
    "PosteriorValue",
    "Ranking",
    "beta_binomial",
    "chance_best",
    "chance_best_of_betas",
    "normal_posterior",
    "prior_from_history",
    "prior_sd",
    "proportions_posterior",
]
