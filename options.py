"""Options of the commands: --json and --quiet, and one option for each field of a settings dataclass."""

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click

from .console import Console

HELP = {
    "dataset": "digits, mnist, cifar10, cifar100, npz:TRAIN.npz,TEST.npz (`images` uint8 [N, H, W, C] and `labels`).",
    "data_folder": "Where torchvision keeps the files of mnist, cifar10 and cifar100.",
    "primitives": "Candidate operations: darts (the eight of DARTS) or plain (convolutions, skip, max-pool).",
    "strategy": "Search by gradients (darts), or train random cells and keep the best on validation images (random).",
    "level": "Search the cell (micro), where to reduce and how wide for a --genotype (macro), or both together.",
    "candidates": "How many random cells.",
    "supernet": "Mix the candidates' kernels (kernel, fast) or, as in the paper, their currents (plain).",
    "attention": "On a node's input current: none, eca, cbam or tcs (steps, too). The Loihi target takes none only.",
    "attention_in": "Where: in the search, in the network that is trained, or both.",
    "channels": "Channels of a node in the first cell; doubled at each reduction.",
    "cells": "Cells in a row, reductions at 1/3 and 2/3 unless a path says otherwise.",
    "time_steps": "Time steps T of the window.",
    "stem_stride": "Stride of the first layer; 2 halves the image, which costs a quarter.",
    "seed": "The same seed gives the same genotype and weights on the same machine.",
    "batch_size": "Images in a batch.",
    "shift": "Move training images by up to this many pixels.",
    "crop": "The same on images that are normalised: black comes in. (cifar10, cifar100: 4)",
    "flip": "Mirror every other training image. (cifar10, cifar100: on)",
    "cutout": "Side of a square that is cut out of training images. (cifar10, cifar100: 16)",
    "schedule": "How the learning rates fall.",
    "device": "auto (a GPU if there is one), cpu, cuda or cuda:N.",
    "precision": "Of the forward pass in training; float16 scales the loss. Networks are tested in float32.",
    "gradient_checkpointing": "Compute each cell a second time in the backward pass, to keep less in memory.",
    "tensorboard": "Write the history as TensorBoard events, too, into the run's folder events/.",
    "search_epochs": "Epochs of the search.",
    "search_precision": "Of spikes and spectra in a search; auto: bfloat16 on a CPU that multiplies it, else float32.",
    "learning_rate": "Of the weights in the search, falling along a cosine.",
    "minimum_learning_rate": "At the end of the cosine.",
    "momentum": "Of SGD.",
    "weight_decay": "Of the weights.",
    "gradient_clip": "Largest norm of the gradient.",
    "alpha_learning_rate": "Of the architecture weights (Adam), those of paths and widths, too.",
    "alpha_weight_decay": "Of the architecture weights.",
    "alpha_warmup_epochs": "First epochs in which the architecture weights rest.",
    "relaxation": "From architecture weights to a mixture: softmax (primitives compete) or sigmoid (each by itself).",
    "second_order": "Look one step of the weights ahead; 3 to 4 times the time, and doubtful with surrogate gradients.",
    "beta_decay": "Keep architecture weights alike: the weight of this regularizer at the end (beta-DARTS: 50).",
    "zero_one_weight": "Drive sigmoids to 0 or 1: the weight of this regularizer (FairDARTS: 10).",
    "auxiliary_skip": "A skip beside every mixture that fades out (DARTS-).",
    "stop_at_skips": "End the search when a cell has so many skip_connect (DARTS+: 2); 0 is never.",
    "stop_when_stable": "End the search when the cells have not changed for so many epochs; 0 is never.",
    "trials": "Train so many cells, drawn from the architecture weights, for a while and take the best; 0 is none.",
    "target_sops": "Synaptic operations per inference that the cell may take: of the --trials the best below it.",
    "target_parameters": "Parameters that the network may have: of the --trials the best within it.",
    "trial_epochs": "Epochs of each in the first round, on half of the train split.",
    "trial_rounds": "From one round to the next the best third is trained again, three times as long.",
    "for_target": "Search only what a target takes without a change: loihi, onnx.",
    "spike_weight": "Price in the loss, nats, of the spikes above --target-spikes over it; without a target, of all.",
    "sop_weight": "Price in the loss, nats, of the synaptic operations over an ordinary network's; 0.3 is strong.",
    "target_spikes": "Spikes per inference to stay below (the paper has about 110000); needs --spike-weight.",
    "train_epochs": "Epochs in which the found network is trained from scratch.",
    "train_learning_rate": "Of that training, falling along a cosine.",
    "label_smoothing": "Share of a label that is spread over all classes, in that training.",
    "auxiliary_weight": "Of the loss of a second readout at 2/3 of the depth, in that training only (DARTS: 0.4).",
    "validation_fraction": "Of the train split, kept out of the training to watch it.",
    "samples": "Test images on which the float forms are compared.",
    "lava_samples": "Test images streamed through real Lava, back to back.",
    "lava_limit_s": "Seconds that Lava may run.",
    "accuracy_drop": "How much test accuracy the chip's integers may cost before the verdict is fail.",
    "profiles": "Price lists, names or paths of .toml files, separated by commas; the first prices the populations.",
    "count_zero_weights": "Whether a synapse of weight zero counts.",
    "classes": "Classes that the network tells apart.",
    "input_shape": "Channels x rows x columns of an image.",
}


SPELLED = {"for_target": "for"}  # `for` is a word of Python's


def common_options(command: Callable[..., None]) -> Callable[..., None]:
    """--json and --quiet; the command gets a Console."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object and nothing else.")
    @click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
    @functools.wraps(command)
    def wrapped(as_json: bool, quiet: bool, **options: Any) -> None:
        console = Console(as_json=as_json, quiet=quiet)
        try:
            command(console, **options)
        finally:
            console.close()

    return wrapped


def settings_options(
    settings: type, hidden: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One option per field of a settings dataclass; an option that is not given stays None."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(settings)
        for field in reversed(fields(settings)):
            if field.name not in hidden:
                kind = hints[field.name]
                choices = click.Choice(get_args(kind)) if get_origin(kind) is Literal else kind
                text = f"{HELP[field.name]} [default: {field.default}]"
                name = SPELLED.get(field.name, field.name).replace("_", "-")
                switch = f"--{name}/--no-{name}" if kind is bool else f"--{name}"
                command = click.option(switch, field.name, type=choices, default=None, help=text)(command)
        return command

    return decorate
