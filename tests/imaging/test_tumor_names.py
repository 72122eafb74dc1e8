"""Names of labels that say tumour, and those that do not."""

from __future__ import annotations

import pytest

from tumorgen.imaging import names_tumor

LIVERS = """
    tumor Tumour tumors lesion lesions cancer carcinoma metastasis metastases hcc HCC_1 mass Masses Neoplasm mets
    livertumor LiverTumor liver_tumor hepaticlesions liver_mass colorectal_liver_metastases HepatocellularCarcinoma
    intrahepatic_cholangiocarcinoma hepatoblastoma primary_tumor viable-tumor malignant_lesion target_lesion tumor_core
    enhancing_tumor possible_lesion liver_metastases_of_colon_cancer non-malignant_lesion tumoral outer_tumor_rim
    Klatskin_tumor KlatskinTumor percutaneously_ablated_lesion tumor_vor_behandlung Novartis_lesion anon_tumor
    backbone_tumor lymphoma_lesion livermets CRLM_colorectal
    colorectal_metastases ColorectalMetastasis metastasis_colon_ca rectal_mets breast_metastasis mammary_metastases
    GTV gtv_liver GTV1 GTVp iGTV GTVLiver hepatoma Hepatomas liver_met met met_2 livermet CCA cca_1 iCCA liver_nodule
    nodules dysplastic_nodule
    gastric_metastases pancreatic_mets metastases_of_breast_cancer metastasis_of_lung_cancer lung_cancer_metastasis
    renal_cell_carcinoma_mets ovarian_cancer_metastases lung_metastasis_and_liver_metastasis
"""
OTHERS = """
    liver spleen vertebrae_L5 massive muscle_mass bone_mass left_lateral_mass mass_effect kidney_tumor KidneyTumor
    kidneytumor colon_cancer colon_cancer_primaries lung_lesion lung_mass pancreatic_cancer pancreas_tumor brain_lesion
    lymph_node_metastasis head_and_neck_tumor gallbladder_cancer renal_mass adrenal_tumor bone_metastases liver_cyst
    non-tumor nontumorous_liver peritumoral_edema tumor-free_liver lesion_free no_tumor liver_without_tumor portal_vein
    hematoma metal amassed client skin_cancer SkinTumor subcutaneous_metastasis cutaneous_lesion lymphatic_lesion
    lung_metastasis LungMets lungmetastasis bone_mets bonemets skeletal_metastases brain_metastases
    bone_metastases_of_breast_cancer lung_cancer_brain_metastasis colorectal_lung_metastasis metastatic_node
    lymph_node_metastasis_of_colon_cancer colon_cancer_without_metastasis breast_cancer pancreatic_tumor gastric_lesion
    GTVn GTV_lung CTV PTV liver_minus_GTV no_gtv lung_met bone_met metacarpal method left_CCA CCA_right CCA_L RCCA
    lung_nodules thyroid_nodule nodulus nodular_liver
    ovarian_tumor head_lesion neck_tumor node_lesion no_mets peri_tumor paratumoral peritoneal_metastases
"""
# TotalSegmentator's: those of its task `total`, and a few of others.
SINGLE = """
    spleen gallbladder liver stomach pancreas esophagus trachea thyroid_gland small_bowel duodenum colon urinary_bladder
    prostate sacrum heart aorta pulmonary_vein brachiocephalic_trunk atrial_appendage_left superior_vena_cava
    inferior_vena_cava portal_vein_and_splenic_vein spinal_cord brain skull sternum costal_cartilages
    lung_middle_lobe_right liver_vessels lung_vessels phalanges_feet patella
"""
PAIRED = """
    kidney adrenal_gland kidney_cyst subclavian_artery common_carotid_artery brachiocephalic_vein iliac_artery
    iliac_vena humerus scapula clavicula femur hip gluteus_maximus gluteus_medius gluteus_minimus autochthon iliopsoas
    lung_upper_lobe lung_lower_lobe metatarsal metacarpal tarsal
"""
SIDES = ("left", "right")
VERTEBRAE = {"C": 7, "T": 12, "L": 5, "S": 1}
ORGANS = (
    *SINGLE.split(),
    *(f"{name}_{side}" for name in PAIRED.split() for side in SIDES),
    *(f"rib_{side}_{number + 1}" for side in SIDES for number in range(12)),
    *(f"vertebrae_{part}{number + 1}" for part, count in VERTEBRAE.items() for number in range(count)),
)


@pytest.mark.parametrize("name", LIVERS.split())
def test_tumours_of_the_liver_and_of_no_organ_are_tumours(name):
    assert names_tumor(name)
    assert names_tumor(name.replace("_", " "))
    assert names_tumor(f" {name}; ")


@pytest.mark.parametrize("name", ["", *OTHERS.split()])
def test_tumours_of_other_organs_and_what_sounds_alike_are_none(name):
    assert not names_tumor(name)
    assert not names_tumor(name.replace("_", " "))
    assert not names_tumor(f" {name}; ")


def test_no_organ_is_a_tumour():
    assert [name for name in ORGANS if names_tumor(name)] == []
