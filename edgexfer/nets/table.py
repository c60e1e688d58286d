"""What is known about every registered network, so that listing them builds none and imports no torchvision.

Made by ``python -m edgexfer.nets.measure``. Parameters are at 1,000 classes, without auxiliary classifiers;
operations are 2 x multiply-adds of one picture at the usual input size.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgexfer.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from edgexfer.registry import Registry

_HALF = (0.5, 0.5, 0.5)
# mean and std on pixels 0..1; "bytes": the network takes pixels 0..255.
STATISTICS = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": (_HALF, _HALF),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "bytes": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}


@dataclass(frozen=True)
class Facts:
    """One network.

    Attributes:
        parameters: Number of parameters at 1,000 classes.
        operations: 2 x multiply-adds of one picture at the usual input size.
        input_size: Side of the usual input, in pixels.
        resize: Pixels of the shorter side before the crop to ``input_size``.
        minimum: Side of the smallest input, in pixels.
        file: Name of torchvision's default weights; empty where none are published for download.
        interpolation: ``"bilinear"`` or ``"bicubic"``.
        multiple: A side has to be a multiple of this many pixels.
        square: Whether pictures have to be square.
        statistics: Key of ``STATISTICS``.
        normalised: Whether anything (BatchNorm, LayerNorm, GroupNorm) normalises between its layers.
    """

    parameters: int
    operations: int
    input_size: int
    resize: int
    minimum: int
    file: str = ""
    interpolation: str = "bilinear"
    multiple: int = 1
    square: bool = False
    statistics: str = "imagenet"
    normalised: bool = True

    @classmethod
    def unbounded(cls) -> Facts:
        """Of a network about which nothing is known."""
        return cls(0, 0, 224, 256, 1)


def facts(name: str) -> Facts:
    """The facts about a registered network.

    Raises:
        UnknownNameError: No network goes by that name; the message lists the nearest.
    """
    known: Registry[Facts] = Registry("network")
    for entry, value in TABLE.items():
        known.add(entry, value)
    return known[name]


TABLE: dict[str, Facts] = {
    "tiny-darknet": Facts(1_042_104, 983_048_192, 224, 256, 16),
    "tiny-darknet-relu": Facts(1_042_104, 983_048_192, 224, 256, 16),
    "tiny-darknet-0.75": Facts(611_524, 570_501_120, 224, 256, 16),
    "tiny-darknet-0.5": Facts(294_480, 269_144_064, 224, 256, 16),
    "tiny-darknet-0.25": Facts(90_972, 78_977_024, 224, 256, 16),
    "mobilenet-v1": Facts(4_231_976, 1_137_480_704, 224, 256, 1),
    "mobilenet-v1-0.75": Facts(2_585_560, 650_800_896, 224, 256, 1),
    "mobilenet-v1-0.5": Facts(1_331_592, 298_994_176, 224, 256, 1),
    "mobilenet-v1-0.25": Facts(470_072, 82_060_544, 224, 256, 1),
    "mobilenet-v1-leaky": Facts(4_231_976, 1_137_480_704, 224, 256, 1),
    "mobilenet-v1-leaky-0.75": Facts(2_585_560, 650_800_896, 224, 256, 1),
    "mobilenet-v1-leaky-0.5": Facts(1_331_592, 298_994_176, 224, 256, 1),
    "mobilenet-v1-leaky-0.25": Facts(470_072, 82_060_544, 224, 256, 1),
    "cifar-resnet20": Facts(334_072, 81_228_800, 32, 32, 1),
    "cifar-resnet32": Facts(528_504, 137_851_904, 32, 32, 1),
    "cifar-resnet44": Facts(722_936, 194_475_008, 32, 32, 1),
    "cifar-resnet56": Facts(917_368, 251_098_112, 32, 32, 1),
    "cifar-resnet110": Facts(1_792_312, 505_902_080, 32, 32, 1),
    "cifar-resnet8x4": Facts(1_464_840, 354_603_008, 32, 32, 1, statistics="cifar100"),
    "cifar-resnet32x4": Facts(7_665_160, 2_166_542_336, 32, 32, 1, statistics="cifar100"),
    "cifar-resnet50": Facts(25_549_352, 2_599_714_816, 32, 32, 1, statistics="cifar100"),
    "cifar-wrn-16-1": Facts(239_416, 53_441_536, 32, 32, 1, statistics="cifar100"),
    "cifar-wrn-16-2": Facts(819_384, 202_467_328, 32, 32, 1, statistics="cifar100"),
    "cifar-wrn-40-1": Facts(628_280, 166_687_744, 32, 32, 1, statistics="cifar100"),
    "cifar-wrn-40-2": Facts(2_371_256, 655_452_160, 32, 32, 1, statistics="cifar100"),
    "cifar-wrn-28-10": Facts(37_113_784, 10_487_924_736, 32, 32, 1, statistics="cifar100"),
    "cifar-mobilenet-v2-0.5": Facts(1_965_736, 15_351_296, 32, 32, 1, statistics="cifar100"),
    "mlperf-resnet8": Facts(142_536, 25_129_984, 32, 32, 4, multiple=4, statistics="bytes"),
    "alexnet": Facts(61_100_840, 1_428_376_960, 224, 256, 63, "alexnet-owt-7be5be79.pth", normalised=False),
    "convnext_base": Facts(88_591_464, 30_709_458_944, 224, 232, 32, "convnext_base-6075fbad.pth"),
    "convnext_large": Facts(197_767_336, 68_722_867_200, 224, 232, 32, "convnext_large-ea097f82.pth"),
    "convnext_small": Facts(50_223_688, 17_367_424_512, 224, 230, 32, "convnext_small-0c510722.pth"),
    "convnext_tiny": Facts(28_589_128, 8_911_062_528, 224, 236, 32, "convnext_tiny-983f1562.pth"),
    "densenet121": Facts(7_978_856, 5_668_323_328, 224, 256, 29, "densenet121-a639ec97.pth"),
    "densenet161": Facts(28_681_000, 15_455_814_144, 224, 256, 29, "densenet161-8d451a50.pth"),
    "densenet169": Facts(14_149_480, 6_719_686_656, 224, 256, 29, "densenet169-b2777c0a.pth"),
    "densenet201": Facts(20_013_928, 8_582_731_776, 224, 256, 29, "densenet201-c1103571.pth"),
    "efficientnet_b0": Facts(5_288_548, 771_629_504, 224, 256, 1, "efficientnet_b0_rwightman-7f5810bc.pth", "bicubic"),
    "efficientnet_b1": Facts(7_794_184, 1_373_605_664, 240, 255, 1, "efficientnet_b1-c27df63c.pth"),
    "efficientnet_b2": Facts(
        9_109_994, 2_175_058_912, 288, 288, 1, "efficientnet_b2_rwightman-c35c1473.pth", "bicubic"
    ),
    "efficientnet_b3": Facts(
        12_233_232, 3_654_282_784, 300, 320, 1, "efficientnet_b3_rwightman-b3899882.pth", "bicubic"
    ),
    "efficientnet_b4": Facts(
        19_341_616, 8_787_542_048, 380, 384, 1, "efficientnet_b4_rwightman-23ab8bcd.pth", "bicubic"
    ),
    "efficientnet_b5": Facts(
        30_389_784, 20_532_769_504, 456, 456, 1, "efficientnet_b5_lukemelas-1a07897c.pth", "bicubic"
    ),
    "efficientnet_b6": Facts(
        43_040_704, 38_135_187_072, 528, 528, 1, "efficientnet_b6_lukemelas-24a108a5.pth", "bicubic"
    ),
    "efficientnet_b7": Facts(
        66_347_960, 75_491_768_384, 600, 600, 1, "efficientnet_b7_lukemelas-c5b4e57e.pth", "bicubic"
    ),
    "efficientnet_v2_l": Facts(
        118_515_272, 112_159_398_016, 480, 480, 1, "efficientnet_v2_l-59c71312.pth", "bicubic", statistics="half"
    ),
    "efficientnet_v2_m": Facts(54_139_356, 49_164_920_768, 480, 480, 1, "efficientnet_v2_m-dc08266a.pth"),
    "efficientnet_v2_s": Facts(21_458_488, 16_731_234_304, 384, 384, 1, "efficientnet_v2_s-dd5fe13b.pth"),
    "googlenet": Facts(6_624_904, 2_996_752_384, 224, 256, 15, "googlenet-1378be20.pth", statistics="half"),
    "inception_v3": Facts(
        23_834_568, 11_426_432_192, 299, 342, 75, "inception_v3_google-0cc3c7bd.pth", statistics="half"
    ),
    "maxvit_t": Facts(30_920_624, 11_116_093_440, 224, 224, 224, "maxvit_t-bc5ab103.pth", "bicubic", multiple=224),
    "mnasnet0_5": Facts(2_218_512, 208_911_936, 224, 256, 1, "mnasnet0.5_top1_67.823-3ffadce67e.pth"),
    "mnasnet0_75": Facts(3_170_208, 430_986_208, 224, 232, 1, "mnasnet0_75-7090bc5f.pth"),
    "mnasnet1_0": Facts(4_383_312, 628_831_744, 224, 256, 1, "mnasnet1.0_top1_73.512-f206786ef8.pth"),
    "mnasnet1_3": Facts(6_282_256, 1_052_724_864, 224, 232, 1, "mnasnet1_3-a4c69d6f.pth"),
    "mobilenet_v2": Facts(3_504_872, 601_548_544, 224, 232, 1, "mobilenet_v2-7ebf99e0.pth"),
    "mobilenet_v3_large": Facts(5_483_032, 433_179_520, 224, 232, 1, "mobilenet_v3_large-5c1a4163.pth"),
    "mobilenet_v3_small": Facts(2_542_856, 113_020_800, 224, 256, 1, "mobilenet_v3_small-047dcff4.pth"),
    "regnet_x_16gf": Facts(54_278_536, 31_881_510_912, 224, 232, 1, "regnet_x_16gf-ba3796d7.pth"),
    "regnet_x_1_6gf": Facts(9_190_136, 3_205_699_584, 224, 232, 1, "regnet_x_1_6gf-a12f2b72.pth"),
    "regnet_x_32gf": Facts(107_811_560, 63_471_859_584, 224, 232, 1, "regnet_x_32gf-6eb8fdc6.pth"),
    "regnet_x_3_2gf": Facts(15_296_552, 6_353_243_904, 224, 232, 1, "regnet_x_3_2gf-7071aa85.pth"),
    "regnet_x_400mf": Facts(5_495_976, 827_625_216, 224, 232, 1, "regnet_x_400mf-62229a5f.pth"),
    "regnet_x_800mf": Facts(7_259_656, 1_599_399_424, 224, 232, 1, "regnet_x_800mf-94a99ebd.pth"),
    "regnet_x_8gf": Facts(39_572_648, 15_990_264_832, 224, 232, 1, "regnet_x_8gf-2b70d774.pth"),
    "regnet_y_128gf": Facts(644_812_894, 749_140_012_800, 384, 384, 1, "regnet_y_128gf_swag-c8ce3e52.pth", "bicubic"),
    "regnet_y_16gf": Facts(83_590_140, 31_823_020_544, 224, 232, 1, "regnet_y_16gf-3e4a00f9.pth"),
    "regnet_y_1_6gf": Facts(11_202_430, 3_224_152_320, 224, 232, 1, "regnet_y_1_6gf-0d7bc02a.pth"),
    "regnet_y_32gf": Facts(145_046_770, 64_559_105_664, 224, 232, 1, "regnet_y_32gf-8db6d4b5.pth"),
    "regnet_y_3_2gf": Facts(19_436_338, 6_352_965_504, 224, 232, 1, "regnet_y_3_2gf-9180c971.pth"),
    "regnet_y_400mf": Facts(4_344_144, 803_685_696, 224, 232, 1, "regnet_y_400mf-e6988f5f.pth"),
    "regnet_y_800mf": Facts(6_432_512, 1_667_712_512, 224, 232, 1, "regnet_y_800mf-58fc7688.pth"),
    "regnet_y_8gf": Facts(39_381_472, 16_946_141_184, 224, 232, 1, "regnet_y_8gf-dc2b1b54.pth"),
    "resnet101": Facts(44_549_160, 15_602_810_880, 224, 232, 1, "resnet101-cd907fc2.pth"),
    "resnet152": Facts(60_192_808, 23_027_253_248, 224, 232, 1, "resnet152-f82ba261.pth"),
    "resnet18": Facts(11_689_512, 3_628_146_688, 224, 256, 1, "resnet18-f37072fd.pth"),
    "resnet34": Facts(21_797_672, 7_327_522_816, 224, 256, 1, "resnet34-b627a593.pth"),
    "resnet50": Facts(25_557_032, 8_178_368_512, 224, 232, 1, "resnet50-11ad3fa6.pth"),
    "resnext101_32x8d": Facts(88_791_336, 32_828_030_976, 224, 232, 1, "resnext101_32x8d-110c445d.pth"),
    "resnext101_64x4d": Facts(83_455_272, 30_920_540_160, 224, 232, 1, "resnext101_64x4d-173b62eb.pth"),
    "resnext50_32x4d": Facts(25_028_904, 8_460_959_744, 224, 232, 1, "resnext50_32x4d-1a0047aa.pth"),
    "shufflenet_v2_x0_5": Facts(1_366_792, 80_952_896, 224, 256, 1, "shufflenetv2_x0.5-f707e7126e.pth"),
    "shufflenet_v2_x1_0": Facts(2_278_604, 289_815_984, 224, 256, 1, "shufflenetv2_x1-5666bf0f80.pth"),
    "shufflenet_v2_x1_5": Facts(3_503_624, 591_518_784, 224, 232, 1, "shufflenetv2_x1_5-3c479a10.pth"),
    "shufflenet_v2_x2_0": Facts(7_393_996, 1_166_506_928, 224, 232, 1, "shufflenetv2_x2_0-8be3c8ee.pth"),
    "squeezenet1_0": Facts(1_248_424, 1_465_817_152, 224, 256, 21, "squeezenet1_0-b66bff10.pth", normalised=False),
    "squeezenet1_1": Facts(1_235_496, 526_271_872, 224, 256, 17, "squeezenet1_1-b8a52dc0.pth", normalised=False),
    "swin_b": Facts(87_768_224, 30_861_893_632, 224, 238, 4, "swin_b-68c6b09e.pth", "bicubic"),
    "swin_s": Facts(49_606_258, 17_481_750_528, 224, 246, 4, "swin_s-5e29d889.pth", "bicubic"),
    "swin_t": Facts(28_288_354, 8_981_133_312, 224, 232, 4, "swin_t-704ceda3.pth", "bicubic"),
    "swin_v2_b": Facts(87_930_848, 40_650_268_672, 256, 272, 4, "swin_v2_b-781e5279.pth", "bicubic"),
    "swin_v2_s": Facts(49_737_442, 23_091_714_048, 256, 260, 4, "swin_v2_s-637d8ceb.pth", "bicubic"),
    "swin_v2_t": Facts(28_351_570, 11_879_380_992, 256, 260, 4, "swin_v2_t-b137f0e2.pth", "bicubic"),
    "vgg11": Facts(132_863_336, 15_218_180_096, 224, 256, 32, "vgg11-8a719046.pth", normalised=False),
    "vgg11_bn": Facts(132_868_840, 15_218_180_096, 224, 256, 32, "vgg11_bn-6002323d.pth"),
    "vgg13": Facts(133_047_848, 22_616_932_352, 224, 256, 32, "vgg13-19584684.pth", normalised=False),
    "vgg13_bn": Facts(133_053_736, 22_616_932_352, 224, 256, 32, "vgg13_bn-abd245e5.pth"),
    "vgg16": Facts(138_357_544, 30_940_528_640, 224, 256, 32, "vgg16-397923af.pth", normalised=False),
    "vgg16_bn": Facts(138_365_992, 30_940_528_640, 224, 256, 32, "vgg16_bn-6c64b313.pth"),
    "vgg19": Facts(143_667_240, 39_264_124_928, 224, 256, 32, "vgg19-dcbb9e9d.pth", normalised=False),
    "vgg19_bn": Facts(143_678_248, 39_264_124_928, 224, 256, 32, "vgg19_bn-c79401a0.pth"),
    "vit_b_16": Facts(86_567_656, 35_127_656_448, 224, 256, 16, "vit_b_16-c867db91.pth", multiple=16, square=True),
    "vit_b_32": Facts(88_224_232, 8_818_372_608, 224, 256, 32, "vit_b_32-d86f8d99.pth", multiple=32, square=True),
    "vit_h_14": Facts(
        633_470_440, 2_033_433_528_320, 518, 518, 14, "vit_h_14_swag-80465313.pth", "bicubic", multiple=14, square=True
    ),
    "vit_l_16": Facts(304_326_632, 123_109_425_152, 224, 242, 16, "vit_l_16-852ce7e3.pth", multiple=16, square=True),
    "vit_l_32": Facts(306_535_400, 30_755_078_144, 224, 256, 32, "vit_l_32-c7638314.pth", multiple=32, square=True),
    "wide_resnet101_2": Facts(126_886_696, 45_506_101_248, 224, 232, 1, "wide_resnet101_2-d733dc28.pth"),
    "wide_resnet50_2": Facts(68_883_240, 22_796_042_240, 224, 232, 1, "wide_resnet50_2-9ba9bcbe.pth"),
}
