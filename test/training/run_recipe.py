"""Trains a recipe as a process of its own: run_recipe.py RECIPE [key=value ...].

Small pictures, and no dropout: the results then do not depend on how a batch is spread over processes.
"""

import sys
from dataclasses import replace

from torch import nn

from dcfm_ros.model import DCFM, create_model
from dcfm_ros.training import trainer
from dcfm_ros.training.recipe import load_recipe


def without_dropout(name: str) -> DCFM:
    model = DCFM(replace(create_model(name).config, input_size=(64, 96)))
    for module in model.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
        if hasattr(module, "drop_path"):
            module.drop_path = 0.0
    return model


if __name__ == "__main__":
    trainer.create_model = without_dropout
    trainer.train(load_recipe(sys.argv[1], sys.argv[2:]))
