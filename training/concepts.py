"""What the bundled model can draw: its nouns, styles, colours and backgrounds, as data."""

from __future__ import annotations

from dataclasses import dataclass

STYLES = {"3d": "3d", "flat": "flat", "cartoon": "noto"}
"""The word in a prompt, and the picture set that it stands for."""

STYLE_SHARES = {"3d": 0.4, "flat": 0.35, "cartoon": 0.25}
"""How often each style is trained: 3d and flat share their drawing, so they teach each other."""

BACKGROUNDS = {
    "white": (255, 255, 255),
    "black": (20, 20, 24),
    "red": (214, 40, 40),
    "orange": (247, 140, 30),
    "yellow": (250, 214, 60),
    "green": (60, 160, 80),
    "teal": (40, 170, 170),
    "blue": (50, 100, 220),
    "sky blue": (140, 205, 250),
    "purple": (130, 70, 190),
    "pink": (250, 170, 200),
    "gray": (150, 150, 155),
    "brown": (125, 85, 55),
}
"""Colour behind the picture, 0..255; white is the one that prompts do not mention."""


@dataclass(frozen=True, slots=True)
class Paint:
    """A colour of things.

    Attributes:
        hue: On the colour circle, in turns.
        saturation: What saturation is multiplied by.
        lift: Exponent of the value; below 1 makes brighter.
    """

    hue: float
    saturation: float = 1.0
    lift: float = 1.0


PAINTS = {
    "red": Paint(0.0, 1.1),
    "orange": Paint(28 / 360, 1.1, 0.8),
    "yellow": Paint(50 / 360, 1.1, 0.6),
    "green": Paint(120 / 360),
    "blue": Paint(215 / 360),
    "purple": Paint(275 / 360),
    "pink": Paint(330 / 360, 0.65, 0.7),
}

HELD_OUT = (
    ("purple", "cat"),
    ("green", "apple"),
    ("blue", "pizza"),
    ("pink", "frog"),
    ("green", "car"),
    ("purple", "sunflower"),
    ("blue", "strawberry"),
    ("orange", "fish"),
    ("red", "banana"),
    ("yellow", "rose"),
    ("pink", "bus"),
    ("blue", "heart"),
    ("green", "fox"),
    ("purple", "carrot"),
    ("red", "tree"),
    ("pink", "star"),
    ("orange", "butterfly"),
    ("blue", "lion"),
    ("yellow", "octopus"),
    ("green", "pig"),
)
"""Colour and noun that never meet in training; the nouns are painted in the other colours."""

MUST = (
    "red apple", "cat face", "automobile", "house", "pizza", "rocket", "ghost", "sunflower",
)  # fmt: skip
"""Labels of what everyone tries first: trained `FAVOUR` times as often, always evaluated."""

FAVOUR = 3.0

_TABLE = """
grinning face | happy face | smiley
face with tears of joy | tears of joy
winking face | wink
smiling face with halo | angel face
smiling face with heart-eyes | heart eyes | face in love
face with tongue | tongue face
thinking face
sleeping face | sleepy face
face with medical mask | face with mask
cold face | freezing face
cowboy hat face | cowboy
partying face | party face
smiling face with sunglasses | cool face | face with sunglasses
nerd face | nerd
frowning face | sad face
crying face
face screaming in fear | screaming face | scared face
angry face
smiling face with horns | devil
skull
pile of poo | poop
clown face | clown
goblin
ghost
alien
robot
red heart | heart
broken heart
collision | explosion
thumbs up
thumbs down
victory hand | peace sign
flexed biceps | muscle
foot
brain
tooth
bone
eyes
tongue
baby
old man
princess
Santa Claus | santa
ninja
mermaid
monkey face | monkey
dog face | dog | puppy
wolf
fox
cat face | cat | kitten
lion
tiger face | tiger
horse face | horse
unicorn
zebra
deer
cow face | cow
pig face | pig
giraffe
elephant
mouse face | mouse
rabbit face | rabbit | bunny
hedgehog
bat
bear
polar bear
koala
panda
chicken
rooster
bird
penguin
eagle
duck
owl
flamingo
peacock
parrot
frog
crocodile
turtle
lizard
snake
dragon face | dragon
sauropod | dinosaur
T-Rex | t rex
spouting whale | whale
dolphin
tropical fish | fish
blowfish | pufferfish
shark
octopus
spiral shell | shell
crab
lobster
shrimp
squid
snail
butterfly
bug | caterpillar
honeybee | bee
lady beetle | ladybug
spider
cherry blossom
rose
sunflower
tulip
seedling | sprout
potted plant
evergreen tree | pine tree
deciduous tree | tree
palm tree
cactus
four leaf clover | clover
maple leaf
mushroom
grapes
watermelon
tangerine | orange fruit | mandarin
lemon
banana
pineapple
red apple | apple
pear
peach
cherries
strawberry
kiwi fruit | kiwi
tomato
coconut
avocado
eggplant
carrot
ear of corn | corn
hot pepper | chili
bell pepper
cucumber
broccoli
onion
bread
croissant
pretzel
pancakes
waffle
cheese wedge | cheese
meat on bone
poultry leg | chicken leg
hamburger | burger
french fries | fries
pizza
hot dog
taco
egg
cooking | fried egg
popcorn
rice ball
steaming bowl | ramen | noodles
spaghetti
sushi
soft ice cream | ice cream cone
ice cream
doughnut | donut
cookie
birthday cake
shortcake | cake
cupcake
pie
chocolate bar | chocolate
candy
lollipop
honey pot | honey
hot beverage | coffee | cup of coffee
teapot
wine glass | glass of wine
cocktail glass | cocktail
beer mug | beer
fork and knife | cutlery
spoon
globe showing Europe-Africa | globe | earth
snow-capped mountain | mountain
volcano
beach with umbrella | beach
house
hospital
castle
tent
ferris wheel
locomotive | train | steam train
bus
ambulance
fire engine | fire truck
police car
taxi
automobile | car
sport utility vehicle | suv
delivery truck | truck
tractor
racing car | race car
motorcycle
bicycle | bike
skateboard
vertical traffic light | traffic light
stop sign
anchor
ring buoy | life buoy
sailboat
ship
airplane | plane
helicopter
rocket
flying saucer | ufo
hourglass done | hourglass
watch
alarm clock
crescent moon | moon
sun
sun with face
ringed planet | planet | saturn
star
cloud
cloud with rain | rain cloud
tornado
rainbow
umbrella
high voltage | lightning bolt | lightning
snowflake
snowman
fire | flame
droplet | water drop
water wave | wave
jack-o-lantern | pumpkin | halloween pumpkin
Christmas tree
balloon
party popper
ribbon
wrapped gift | gift | present
trophy
soccer ball | football
baseball
basketball
volleyball
tennis | tennis ball
bullseye | target
kite
crystal ball
magic wand
video game | game controller
game die | dice
teddy bear
chess pawn
artist palette | paint palette
sunglasses
necktie | tie
t-shirt | shirt
jeans | trousers
scarf
socks
dress
handbag
backpack
running shoe | sneaker
high-heeled shoe | high heel
crown
top hat
graduation cap
ring | diamond ring
gem stone | diamond | gem
megaphone
bell
musical note
microphone
headphone | headphones
trumpet
guitar
violin
drum
mobile phone | phone
telephone
laptop
desktop computer | computer
computer mouse
television | tv
camera
magnifying glass tilted left | magnifying glass
candle
light bulb
open book
books
money bag
dollar banknote | money
envelope | letter
package | box
pencil
paintbrush
briefcase
calendar
scissors
locked | lock
key
hammer
crossed swords | swords
bomb
shield
screwdriver
magnet
test tube
microscope
syringe
pill
door
bed
chair
bathtub
bucket
toothbrush
shopping cart
warning | warning sign
no entry
yin yang
cross mark
pirate flag
"""


_PAINTED = """
cat, dog, fox, lion, tiger, horse, cow, pig, mouse, rabbit, bear, elephant, frog, turtle,
crocodile, lizard, snake, dragon, dinosaur, whale, dolphin, fish, octopus, crab, butterfly,
snail, ladybug, bird, parrot, owl, flamingo, unicorn, monkey, teddy bear, giraffe, squid, rose,
tulip, sunflower, cherry blossom, tree, pine tree, cactus, clover, maple leaf, mushroom, apple,
pear, peach, banana, lemon, strawberry, cherries, grapes, pineapple, tomato, eggplant, carrot,
corn, bell pepper, cucumber, avocado, orange fruit, pizza, burger, donut, cupcake, cake, ice
cream, candy, lollipop, cheese, bread, hot dog, car, bus, truck, taxi, race car, motorcycle,
train, steam train, plane, helicopter, rocket, sailboat, tractor, house, castle, tent, umbrella,
balloon, gift, ribbon, heart, star, moon, sun, fire, water drop, lightning bolt, key, lock,
bell, crown, diamond, shirt, dress, trousers, tie, backpack, handbag, high heel, top hat, socks,
chair, bed, door, teapot, guitar, drum, pencil, light bulb, megaphone, alarm clock, magnet,
happy face, sad face, cool face, angry face, devil, pumpkin, poop
"""

PAINTED = tuple(" ".join(noun.split()) for noun in _PAINTED.split(","))
"""Nouns that captions also give in other colours than their own."""


def concepts() -> dict[str, tuple[str, ...]]:
    """Unicode label -> the plain names that captions use, the most usual first.

    Returns:
        For `automobile`, `("car", "automobile")`: names in the table come before the label itself,
        and a label alone is its own name.
    """
    table: dict[str, tuple[str, ...]] = {}
    for line in _TABLE.strip().splitlines():
        label, *names = (part.strip() for part in line.split("|"))
        table[label] = (*names, label.lower().replace("\u2019", "'"))
    return table
