"""What the tissues of a phantom look like: a table of HU without contrast and in two phases of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Phase = Literal["portal", "arterial", "none"]
PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(frozen=True, slots=True)
class Tissue:
    """HU without contrast, in the late arterial and in the portal venous phase; `spread` is its half-width."""

    none: float
    arterial: float
    portal: float
    spread: float = 0.0


# Without contrast: Prokop & Galanski, Spiral and Multislice CT of the Body, Thieme 2003; normal liver 58 +- 9 HU in
# Int J Legal Med 2019;133:1861. Enhancement in both phases, i.e. what is added: Goshima et al., AJR 2006;187:W25
# (late arterial: aorta 300, spleen 97-108, portal vein 75-104, liver 15-25, hepatic veins 24-51 HU; portal venous:
# aorta 117-125, spleen 73-82, liver 59-63). Vertebral cancellous bone: Jang et al., Radiology 2019;291:360.
# Kidney: cortex before medulla in the arterial phase, nearly even in the portal one (Young et al., Invest Radiol
# 1981;16:36). Vessels in the liver stand 40 to 80 HU above it in the portal phase.
TISSUES = {
    "air": Tissue(-1000, -1000, -1000),
    "gas": Tissue(-950, -950, -950),
    "lung": Tissue(-830, -825, -820, 30),
    "lung_vessel": Tissue(30, 150, 110),
    "skin": Tissue(15, 20, 25),
    "fat": Tissue(-105, -105, -105, 5),
    "visceral_fat": Tissue(-100, -99, -98, 5),
    "muscle": Tissue(54, 58, 63, 6),
    "cartilage": Tissue(105, 105, 110),
    "cortical_bone": Tissue(720, 720, 730, 120),
    "cancellous_bone": Tissue(165, 170, 180, 45),
    "disc": Tissue(85, 85, 90),
    "spinal_canal": Tissue(28, 30, 32),
    "heart": Tissue(45, 110, 110, 8),
    "heart_blood": Tissue(42, 260, 160, 15),
    "aorta": Tissue(42, 330, 162, 15),
    "vena_cava": Tissue(42, 75, 145, 10),
    "artery": Tissue(42, 290, 155, 10),
    "portal_vein": Tissue(42, 130, 172, 8),
    "hepatic_vein": Tissue(42, 72, 164, 6),
    "liver": Tissue(57, 76, 108, 6),
    "gallbladder": Tissue(8, 8, 8, 6),
    "gallbladder_wall": Tissue(30, 50, 65),
    "spleen": Tissue(48, 140, 124, 8),
    "kidney_cortex": Tissue(32, 185, 192, 15),
    "kidney_medulla": Tissue(30, 75, 158, 12),
    "pancreas": Tissue(40, 105, 95, 10),
    "adrenal": Tissue(25, 70, 75),
    "stomach_wall": Tissue(42, 80, 88, 8),
    "stomach_fluid": Tissue(18, 18, 18, 10),
    "bowel_wall": Tissue(40, 85, 92, 10),
    "bowel_fluid": Tissue(22, 22, 25, 8),
    "stool": Tissue(5, 5, 5, 30),
    "table": Tissue(-350, -350, -350),
}
