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
    ovarian_tumor head_lesion neck_tumor node_lesion no_mets peri_tumor paratumoral peritoneal_metastases
"""


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
