"""nnU-Net's trainer with synthetic tumours in every patch, found through `nnUNet_extTrainer`; see docs/training.md.

Only what differs from nnU-Net is here: where nnU-Net makes its dataset, `training.preprocessed` is wrapped around it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.configuration import default_num_processes
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from tumorgen.errors import TumorgenError
from tumorgen.labels import TUMOR
from tumorgen.method import DEFAULT_RECIPE, Settings, load_recipe, load_settings
from tumorgen.training.frame import Frame, share_below_clipping
from tumorgen.training.measuring import measure_cases
from tumorgen.training.preprocessed import TumorCases, fixed_tumors, fresh_tumors

RECIPE, SETTINGS, SEED = "TUMORGEN_RECIPE", "TUMORGEN_SETTINGS", "TUMORGEN_SEED"


class nnUNetTrainerTumorgen(nnUNetTrainer):  # type: ignore[misc]  # noqa: N801  # nnU-Net finds a trainer by this name
    """Trains on healthy cases into which tumours are drawn while it trains; validation cases have fixed ones."""

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  # as nnU-Net spells it
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)

    def get_tr_and_val_datasets(self) -> tuple[TumorCases, TumorCases]:
        """nnU-Net's two datasets, with tumours."""
        try:
            return self._with_tumors(*super().get_tr_and_val_datasets())
        except TumorgenError as error:
            raise SystemExit(f"{type(self).__name__}: {error}") from error

    def _with_tumors(self, training: Any, validation: Any) -> tuple[TumorCases, TumorCases]:
        frame = Frame.of(self.plans_manager.plans, self.configuration_name, self.dataset_json)
        settings, told = _settings()
        seed = _seed()
        source = Path(self.preprocessed_dataset_folder)
        folder = source.with_name(f"{source.name}_tumorgen")
        self.print_to_log_file(f"tumorgen: {told}, seed {seed}; measuring in {folder}")
        skip: dict[str, str] = {}
        for dataset in (training, validation):
            skip |= measure_cases(dataset, folder, frame, settings, default_num_processes)
        for case, reason in skip.items():
            self.print_to_log_file(f"tumorgen: no tumours in {case}: {reason}")
        drawn = fresh_tumors(settings), fixed_tumors(settings, seed or 0)
        cases = TumorCases(training, folder, frame, settings, drawn[0], tuple(skip))
        held_out = TumorCases(validation, folder, frame, settings, drawn[1], tuple(skip))
        if not cases.measured:
            raise TumorgenError("no case of this fold can have tumours (see the log): nothing to train on")
        self._report_clipping(cases, settings)
        return cases, held_out

    def _report_clipping(self, cases: TumorCases, settings: Settings) -> None:
        normalization = cases.frame.normalization
        shares = [
            share_below_clipping(settings, found["mu_p_hu"], found["sigma_p_hu"], normalization)
            for found in cases.measured.values()
        ]
        self.print_to_log_file(
            f"tumorgen: HU are clipped to {normalization.low_hu:.0f} to {normalization.high_hu:.0f};"
            f" {np.mean(shares):.0%} of the tumours reach below that (docs/training.md says what to do about it)"
        )

    def get_dataloaders(self) -> tuple[Any, Any]:
        """nnU-Net's two loaders; if TUMORGEN_SEED is set, all their random numbers come from it."""
        loaders: tuple[Any, Any] = super().get_dataloaders()
        seed = _seed()
        if seed is not None:
            for stream, loader in enumerate(loaders):
                _reseed(loader, np.random.SeedSequence([seed, self.current_epoch, self.local_rank, stream]))
        return loaders

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """nnU-Net's final validation, on the cases as they are."""
        annotated, cases = self._count_annotated()
        self.print_to_log_file(
            "tumorgen: the final validation predicts the held-out scans as they are, "
            + (
                f"without synthetic tumours; {annotated} of {cases} have annotated ones (docs/training.md)"
                if annotated
                else "healthy: its tumour figures count false positives only. Score tumours on a dataset of"
                " `tumorgen synth` or on real ones (docs/training.md)"
            )
        )
        super().perform_actual_validation(save_probabilities)

    def _count_annotated(self) -> tuple[int, int]:
        """How many held-out cases have tumours of their own, and how many there are."""
        names = [*dict.fromkeys(self.do_split()[1])]
        cases = self.dataset_class(self.preprocessed_dataset_folder, names)
        found = (cases.load_case(name)[3]["class_locations"] for name in names)
        return sum(len(places.get(TUMOR, ())) > 0 for places in found), len(names)


def _settings() -> tuple[Settings, str]:
    """Settings of the recipe, with those of the file on top, and what they are in words."""
    recipe, path = os.environ.get(RECIPE) or DEFAULT_RECIPE, os.environ.get(SETTINGS)
    settings = load_recipe(recipe)
    if path:
        return load_settings(Path(path), settings), f"recipe {recipe} with settings {path}"
    return settings, f"recipe {recipe}"


def _seed() -> int | None:
    text = os.environ.get(SEED, "")
    if not text:
        return None
    if not text.isdecimal():
        raise SystemExit(f"{SEED} is {text!r}; a whole number from 0 is needed")
    return int(text)


def _reseed(loader: Any, sequence: np.random.SeedSequence) -> None:
    """Start a loader again from seeds: those of its worker processes or, if it has none, those of this process."""
    if isinstance(loader, SingleThreadedAugmenter):
        np.random.seed(sequence.generate_state(4))  # noqa: NPY002  # nnU-Net draws from it
        torch.manual_seed(int(sequence.generate_state(1)[0]))
        return
    loader.seeds = [int(state) for state in sequence.generate_state(loader.num_processes)]
    loader.restart()
